//! A queue before the log's reader: whoever has something to say never waits for it.
//!
//! A reader that stands still (a stalled journal, a pipe that nobody empties) would otherwise hold up routing
//! and BFD: a write to a full pipe waits without end, and everybody waits for the lock of standard error. What
//! does not fit is lost, and counted. Of crates for this, tracing-appender prints to standard output at its end
//! when its queue is full, which then waits for the same reader.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

/// Lines that wait to be written.
const WAITING: usize = 4096;
/// How long the end waits for what is still to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often the end looks whether there is room again.
const PAUSE: Duration = Duration::from_millis(10);

/// What goes to the writing thread.
enum Message {
    /// A line, with its end.
    Line(Vec<u8>),
    /// Everything before this has been written; it is said there.
    End(Sender<()>),
}

/// The queue's near end; clones share it.
#[derive(Clone)]
pub(super) struct Queue {
    messages: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    ///
    /// When the kernel gives no thread.
    pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (messages, waiting) = mpsc::sync_channel(WAITING);
        thread::Builder::new().name("log".into()).spawn(move || {
            node::drop_all_capabilities();
            write(sink, &waiting);
        })?;
        Ok(Self {
            messages,
            lost: Arc::default(),
        })
    }

    /// How many lines were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what was said is written, but not for a reader that stands still.
    pub(super) fn finish(&self) {
        let until = Instant::now() + LAST_WORDS;
        let (said, written) = mpsc::channel();
        let mut end = Message::End(said);
        while let Err(TrySendError::Full(again)) = self.messages.try_send(end) {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(PAUSE);
            end = again;
        }
        // Whatever comes of it, this is the end.
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// Takes each line whole.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self
            .messages
            .try_send(Message::Line(line.to_vec()))
            .is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes; a reader that has gone is no reason to stop.
fn write(mut sink: impl Write, messages: &Receiver<Message>) {
    for message in messages {
        match message {
            Message::Line(line) => {
                let _ = sink.write_all(&line);
            }
            Message::End(said) => {
                let _ = sink.flush();
                let _ = said.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn lines_come_whole_and_in_order_before_the_end() {
        let (mut reader, sink) = io::pipe().unwrap();
        let mut queue = Queue::start(sink).unwrap();
        for number in 0..100 {
            queue
                .write_all(format!("line {number}\n").as_bytes())
                .unwrap();
        }
        queue.finish();
        let mut text = vec![0; 790];
        reader.read_exact(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.starts_with("line 0\nline 1\n") && text.ends_with("line 99\n"),
            "{text}"
        );
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn a_reader_that_stands_still_holds_up_nobody() {
        // A pipe of 64 KiB that nobody empties.
        let (reader, sink) = io::pipe().unwrap();
        let mut queue = Queue::start(sink).unwrap();
        let line = vec![b'x'; 256];
        let begin = Instant::now();
        for _ in 0..3 * WAITING {
            queue.write_all(&line).unwrap();
        }
        let lost = queue.lost();
        assert!(lost > WAITING as u64, "{lost}");
        queue.finish();
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{:?}",
            begin.elapsed()
        );
        drop(reader);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_reason_to_stop() {
        let (reader, sink) = io::pipe().unwrap();
        drop(reader);
        let mut queue = Queue::start(sink).unwrap();
        queue.write_all(b"into the void\n").unwrap();
        queue.finish();
        queue.write_all(b"and again\n").unwrap();
        queue.finish();
        assert_eq!(queue.lost(), 0);
    }
}

//! `l2ha capture`.

mod pcapng;

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use control::{Command, Direction, Line, Side, from_hex};
use serde::de::DeserializeOwned;

use self::pcapng::Pcapng;
use super::{
    FINE,
    monitor::is_last,
    output,
    socket::Daemon,
    stream::{self, Sink},
};

/// Most of a packet that can be captured, in bytes.
const MOST: i64 = 9216;

/// Capture packets where they enter and leave the pseudowires, as pcapng
///
/// Each tunnel is an interface of the capture. Cookies are zero in it. Ctrl-C ends it; how many
/// packets were captured and how many are missing is said on standard error then.
///
/// What segmentation offload sends or GRO has merged is one large packet here. In sent outer
/// packets the Ethernet addresses are placeholders: the neighbour table writes the real ones later.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha capture | tshark -r -
  l2ha capture --tunnel client --side outer -w outer.pcapng
  l2ha capture --direction rx --count 100 | tcpdump -n -r -")]
pub(super) struct Capture {
    #[command(flatten)]
    daemon: Daemon,
    /// Only this tunnel's packets
    #[arg(long, value_name = "NAME")]
    tunnel: Option<String>,
    /// Frames as the virtual interfaces carry them, or the packets around them
    #[arg(long, default_value = "inner", value_parser = named::<Side, 2>([
        ("inner", "The frames that the virtual interfaces carry"),
        ("outer", "The packets around them, cookies blanked"),
    ]))]
    side: Side,
    /// Only received or only sent packets
    #[arg(long, default_value = "both", value_parser = named::<Direction, 3>([
        ("rx", "Received by this node"),
        ("tx", "Sent by this node"),
        ("both", "Either way"),
    ]))]
    direction: Direction,
    /// How much of each packet, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(14..=MOST))]
    snaplen: u32,
    /// End after this many packets
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// Where to write; - is standard output
    #[arg(short = 'w', long = "write", value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// Values under the names that they have in the control socket's language, each with its help.
fn named<T, const N: usize>(
    names: [(&'static str, &'static str); N],
) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let values = names.map(|(name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values).try_map(|name| serde_json::from_value(name.into()))
}

impl Capture {
    pub(super) fn main(self) -> Result<u8> {
        let socket = self.daemon.path()?;
        let command = Command::Capture {
            tunnel: self.tunnel,
            side: self.side,
            direction: self.direction,
            snaplen: self.snaplen,
        };
        let mut writer = Writer {
            pcapng: Pcapng::new(open(&self.file)?, self.snaplen)?,
            captured: 0,
            left: self.count.map(NonZeroU64::get),
        };
        writer.flush()?;
        let missed = stream::follow(&socket, command, &mut writer)?;
        output::error(&format!("l2ha: {} packets captured", writer.captured));
        stream::say_missing(missed);
        Ok(FINE)
    }
}

fn open(file: &Path) -> Result<Box<dyn Write>> {
    if file != Path::new("-") {
        let opened = File::create(file).with_context(|| format!("cannot write {}", file.display()));
        return Ok(Box::new(BufWriter::new(opened?)));
    }
    let output = io::stdout();
    if output.is_terminal() {
        bail!(
            "a capture is not for the terminal: name a file with -w FILE, or pipe it: \
             l2ha capture | tshark -r -"
        );
    }
    Ok(Box::new(BufWriter::new(output.lock())))
}

struct Writer {
    pcapng: Pcapng<Box<dyn Write>>,
    captured: u64,
    left: Option<u64>,
}

impl Sink for Writer {
    fn take(&mut self, line: Line) -> Result<bool> {
        let Line::Frame(frame) = line else {
            return Ok(false);
        };
        let bytes = from_hex(&frame.bytes).context("the daemon sends what is no packet")?;
        self.pcapng.packet(
            &frame.tunnel,
            frame.direction == Direction::Rx,
            frame.time_ns,
            frame.length,
            &bytes,
        )?;
        self.captured += 1;
        Ok(is_last(&mut self.left))
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.pcapng.flush()?)
    }
}

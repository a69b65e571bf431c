//! Sessions in their rows and beside them: found in either, changed in one step, taken over.

mod kit;

use std::fs;

use anyhow::{Context as _, ensure};
use aya::maps::{Array, Map, MapData};
use dataplane::{Cookie, DataPlane};
use kit::{
    Pins, Result,
    bench::{Bench, DECAPS, Form, frame},
};
use l2ha_ebpf::abi::{MAX_ROWS, SessionId};

const ETHERTYPE: u16 = 0x0800;
const LENGTH: usize = 100;

/// Both programs deliver a packet of this session, or refuse it for this reason.
fn judged(bench: &mut Bench, form: &Form, refused: Option<&str>) -> Result {
    let frame = frame(ETHERTYPE, LENGTH);
    let packet = form.received(&frame).bytes();
    for program in DECAPS {
        match refused {
            None => bench.delivers(program, &packet, &frame)?,
            Some(reason) => bench.refuses(program, &packet, reason)?,
        }
    }
    Ok(())
}

/// Both programs deliver a packet with the session's previous cookie.
fn still_delivered(bench: &mut Bench, form: &Form) -> Result {
    let packet = form.received(&frame(ETHERTYPE, LENGTH)).bytes();
    for program in DECAPS {
        let (_, counted, delivered) = bench.run_counted(program, &packet)?;
        ensure!(
            delivered && counted == Some("previous_cookie_used"),
            "{program:?}: delivered {delivered}, counted {counted:?}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn who_has_no_row_is_found_all_the_same() -> Result {
    let mut bench = Bench::new()?;
    let without_row = |bench: &Bench, wanted: usize| {
        let count = bench.plane.without_row();
        ensure!(
            count == wanted,
            "{count} sessions have no row, not {wanted}"
        );
        Ok(())
    };
    without_row(&bench, 0)?;
    let first = bench.forms[0].clone();
    let mut second = first.clone();
    // The same last bits.
    second.session.session_id += MAX_ROWS;
    bench.plane.set_session(&second.session)?;
    for settled in [false, true] {
        if settled {
            bench.plane.settle()?;
        }
        without_row(&bench, 1)?;
        judged(&mut bench, &first, None)?;
        judged(&mut bench, &second, None)?;
    }
    // The row is free then, and the first who changes has it.
    let interface = first.session.visible_ifindex;
    bench
        .plane
        .remove_session(first.session.session_id, interface)?;
    without_row(&bench, 1)?;
    judged(&mut bench, &first, Some("unknown_session"))?;
    judged(&mut bench, &second, None)?;
    second.session.form.ecn = !second.session.form.ecn;
    bench.plane.set_session(&second.session)?;
    bench.plane.set_session(&first.session)?;
    bench.plane.settle()?;
    without_row(&bench, 1)?;
    judged(&mut bench, &first, None)?;
    judged(&mut bench, &second, None)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_change_counts_at_once() -> Result {
    let mut bench = Bench::new()?;
    let old = bench
        .forms
        .iter()
        .find(|form| form.cookies.0.len() == 8)
        .context("a form with a cookie")?
        .clone();
    let mut new = old.clone();
    new.cookies.0 = b"\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8";
    new.session.receive_cookie = Cookie::new(new.cookies.0).expect("0, 4 or 8 bytes");
    new.session.previous_cookie = Some(Cookie::new(old.cookies.0).expect("0, 4 or 8 bytes"));
    bench.plane.set_session(&new.session)?;
    for settled in [false, true] {
        if settled {
            bench.plane.settle()?;
        }
        judged(&mut bench, &new, None)?;
        still_delivered(&mut bench, &old)?;
    }
    new.session.previous_cookie = None;
    bench.plane.set_session(&new.session)?;
    for settled in [false, true] {
        if settled {
            bench.plane.settle()?;
        }
        judged(&mut bench, &new, None)?;
        judged(&mut bench, &old, Some("wrong_cookie"))?;
    }
    Ok(())
}

/// A daemon of another version may have changed the sessions and not their rows.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_wrong_row_is_not_taken_over() -> Result {
    let pins = Pins::new()?;
    let dir = pins.dir("bench");
    let mut bench = Bench::at(&dir)?;
    let right = bench.forms[0].clone();
    let id = right.session.session_id;
    let folder = fs::read_dir(&dir)?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with('v'))
        .context("no folder of maps")?;
    let pin = fs::read_dir(folder.path())?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("ROWS_"))
        .context("no rows")?;
    let mut rows: Array<_, [u8; 64]> = Array::try_from(Map::Array(MapData::from_pin(pin.path())?))?;
    let number = SessionId::new(id).row();
    let mut row = rows.get(&number, 0)?;
    // The end of the local address.
    row[15] ^= 1;
    rows.set(number, row, 0)?;
    judged(&mut bench, &right, Some("unknown_session"))?;

    bench.plane = DataPlane::load(&dir)?;
    judged(&mut bench, &right, None)?;
    ensure!(bench.plane.without_row() == 1);
    bench.plane.settle()?;
    ensure!(bench.plane.without_row() == 0);
    judged(&mut bench, &right, None)
}

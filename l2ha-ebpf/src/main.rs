//! Entry points of the kernel programs, one per hook.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod program;

use aya_ebpf::{
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use self::program::{decap_tc, decap_xdp, encap, hand_on, hidden, verdict};

/// Decapsulates on the underlay, native XDP.
#[xdp]
fn l2ha_xdp(ctx: XdpContext) -> u32 {
    let outcome = decap_xdp::decap(&ctx);
    verdict::xdp(&ctx, outcome)
}

/// Decapsulates on the underlay, tc ingress.
#[classifier]
fn l2ha_decap(ctx: TcContext) -> i32 {
    let outcome = decap_tc::decap(&ctx);
    verdict::tc_underlay(&ctx, outcome)
}

/// Takes what the XDP program has stripped and GRO has merged, tc ingress of the underlay.
#[classifier]
fn l2ha_merged(ctx: TcContext) -> i32 {
    hand_on::merged(&ctx)
}

/// Encapsulates, tc egress of the visible end.
#[classifier]
fn l2ha_encap(ctx: TcContext) -> i32 {
    let outcome = encap::visible(&ctx);
    verdict::tc_interface(&ctx, outcome)
}

/// Sends what came through the veth pair to the underlay, tc ingress of the hidden end.
#[classifier]
fn l2ha_hidden(ctx: TcContext) -> i32 {
    let outcome = hidden::hidden(&ctx);
    verdict::tc_interface(&ctx, outcome)
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

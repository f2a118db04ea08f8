//! The one place where a process draws true chance from the machine, taken over: tokio's and the hash maps' seeds come
//! from libc's `getrandom`, which the linker finds here first. Everything else asks `posmesh_kit::ambient`.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0);

/// What is drawn from now on depends on the seed alone.
pub(crate) fn seed(seed: u64) {
    STATE.store(seed, Ordering::Relaxed);
}

/// In place of libc's. Numbers of SplitMix64.
///
/// # Safety
///
/// `buffer` must be valid for writes of `length` bytes, as for libc's function.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    for at in 0..length {
        let mut number = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // SAFETY: `at` is less than `length`, for which the caller vouches.
        unsafe { buffer.add(at).write((number ^ (number >> 31)) as u8) };
    }
    length as isize
}

//! Whole layers, applied to a directory. Needs root.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_images::fuzz::layer(data));

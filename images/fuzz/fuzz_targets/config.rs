//! Image configurations.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_images::fuzz::config(data));

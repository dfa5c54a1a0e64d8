//! Tar streams: headers, extensions, and what each member means.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_images::fuzz::tar(data));

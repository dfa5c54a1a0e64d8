//! Image references, as goal files and operators write them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_images::fuzz::reference(data));

//! Manifests and indexes, as registries and layouts give them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_images::fuzz::manifest(data));

use netlink_packet_core::Emitable;

use super::*;

/// What the kernel would send back: the attributes inside of one TCA_OPTIONS.
fn nested(options: &[TcOption]) -> Vec<TcOption> {
    let mut bytes = vec![0; options.buffer_len()];
    options.emit(&mut bytes);
    vec![TcOption::Other(DefaultNla::new(2, bytes))]
}

#[test]
fn a_shaper_is_read_back_as_it_was_written() {
    for bits in [8_000, 10_000_000, 40_000_000_000, 100_000_000_000] {
        let shaper = Shaper::of(BitRate::from_bits_per_second(bits).expect("a good rate"));
        assert_eq!(shaper.rate, bits / 8);
        assert_eq!(shaper_of(&nested(&options(shaper))), Some(shaper), "{bits}");
    }
}

#[test]
fn the_parameters_have_the_kernel_s_size() {
    let shaper = Shaper::of(BitRate::from_bits_per_second(1_000_000).expect("a good rate"));
    let TcOption::Other(parms) = &options(shaper)[0] else { panic!("an unknown option") };
    assert_eq!((parms.kind(), parms.value_len()), (TCA_TBF_PARMS, 36));
}

#[test]
fn a_queue_always_takes_a_burst() {
    for bits in [8_000, 1_000_000_000, 1_000_000_000_000] {
        let shaper = Shaper::of(BitRate::from_bits_per_second(bits).expect("a good rate"));
        assert!(u64::from(shaper.limit) > burst(shaper.rate), "{bits}");
    }
}

//! Properties of plans, tried on a model.

mod model;

use proptest::prelude::*;

use super::*;
use model::{LINK, apply, bridge, desired, empty, goal, host, state};

fn destructive(step: &Step) -> bool {
    matches!(
        step,
        Step::RemovePort { .. }
            | Step::RemoveLink { .. }
            | Step::RemoveInner
            | Step::RemoveNamespace
            | Step::RemoveAddress { .. }
            | Step::RemoveGateway { .. }
    )
}

proptest! {
    #[test]
    fn an_attach_plan_leaves_nothing_to_do(goal in goal(), start in state()) {
        let (mut goal, mut now) = (goal, start);
        let plan = attach(&goal, &host(), &now);
        prop_assert_eq!(&plan.blocked, &Vec::<String>::new());
        for step in &plan.steps {
            apply(&mut now, &mut goal.lease.confirmed, step);
        }
        prop_assert_eq!(attach(&goal, &host(), &now), Plan::default());
    }

    #[test]
    fn a_plan_cut_off_anywhere_is_finished_by_the_next(goal in goal(), start in state(), cut in 0usize..24) {
        let (mut goal, mut now) = (goal, start);
        for step in attach(&goal, &host(), &now).steps.iter().take(cut) {
            apply(&mut now, &mut goal.lease.confirmed, step);
        }
        for step in &attach(&goal, &host(), &now).steps {
            apply(&mut now, &mut goal.lease.confirmed, step);
        }
        prop_assert_eq!(attach(&goal, &host(), &now), Plan::default());
    }

    #[test]
    fn a_detach_plan_leaves_nothing_there(start in state(), cut in 0usize..6) {
        let (mut now, mut confirmed) = (start, true);
        for step in detach(&now).steps.iter().take(cut) {
            apply(&mut now, &mut confirmed, step);
        }
        for step in &detach(&now).steps {
            apply(&mut now, &mut confirmed, step);
        }
        prop_assert_eq!(detach(&now), Plan::default());
        let bare = OwnerState {
            switch: Observed::Present(SwitchState {
                ports: Vec::new(),
                ..now.switch.present().expect("a known switch").clone()
            }),
            links: Observed::Present(Vec::new()),
            pin_file: false,
            namespace: Observed::Absent,
        };
        prop_assert_eq!(now, bare);
    }

    #[test]
    fn the_unknown_removes_nothing(goal in goal(), start in state(), which in 1u8..8) {
        let mut now = start;
        let why = || "the reason".to_owned();
        if which & 1 != 0 { now.switch = Observed::Unknown(why()); }
        if which & 2 != 0 { now.links = Observed::Unknown(why()); }
        if which & 4 != 0 { now.namespace = Observed::Unknown(why()); }
        for plan in [attach(&goal, &host(), &now), detach(&now)] {
            prop_assert!(plan.blocked.iter().any(|reason| reason.contains("the reason")));
            prop_assert!(!plan.steps.iter().any(destructive), "{:?}", plan.steps);
        }
    }

    #[test]
    fn what_has_no_tag_of_ours_is_never_removed(goal in goal(), start in state()) {
        let mut now = start;
        if let Observed::Present(switch) = &mut now.switch {
            switch.ports.iter_mut().for_each(|port| port.tag = None);
        }
        if let Observed::Present(links) = &mut now.links {
            links.iter_mut().for_each(|link| link.tag = None);
        }
        for plan in [attach(&goal, &host(), &now), detach(&now)] {
            let touches = |step: &Step| matches!(step, Step::RemovePort { .. } | Step::RemoveLink { .. });
            prop_assert!(!plan.steps.iter().any(touches), "{:?}", plan.steps);
        }
    }

    #[test]
    fn removals_come_before_additions(goal in goal(), start in state()) {
        let steps = attach(&goal, &host(), &start).steps;
        let removed = steps.iter().rposition(|s| matches!(s, Step::RemovePort { .. } | Step::RemoveLink { .. } | Step::RemoveInner));
        let added = steps.iter().position(|s| matches!(s, Step::CreateVeth { .. } | Step::AddPort { .. }));
        if let (Some(removed), Some(added)) = (removed, added) {
            prop_assert!(removed < added, "{steps:?}");
        }
    }
}

#[test]
fn the_address_is_tried_after_the_port_and_before_it_is_set() {
    let steps = attach(&desired(false, Some(8_000_000), None), &host(), &empty()).steps;
    let at = |wanted: &str| {
        let found = steps.iter().position(|step| step.to_string().starts_with(wanted));
        found.unwrap_or_else(|| panic!("no step {wanted:?} in {steps:?}"))
    };
    let order = [
        "make the namespace",
        "create the veth pair",
        "turn checksum offload off",
        "bring up link",
        "add port",
        "wait for port",
        "limit link",
        "ask whether",
        "add the address",
        "add the default route",
        "announce",
        "confirm",
    ];
    let places: Vec<_> = order.iter().map(|wanted| at(wanted)).collect();
    assert!(places.is_sorted(), "{steps:?}");
}

#[test]
fn a_foreign_bridge_or_name_blocks() {
    let goal = desired(false, None, None);
    let mut now = empty();
    now.links = Observed::Present(vec![OuterLink {
        index: 9,
        name: LINK.to_owned(),
        mtu: 1500,
        up: true,
        tag: None,
        shaper: None,
    }]);
    for bridge in [None, Some(bridge(None)), Some(bridge(Some("h2")))] {
        now.switch = Observed::Present(SwitchState { bridge, ports: Vec::new(), behind: false });
        let plan = attach(&goal, &host(), &now);
        assert_eq!(plan.steps, []);
        assert_eq!(plan.blocked.len(), 2, "{:?}", plan.blocked);
    }
}

#[test]
fn a_running_container_s_namespace_is_pinned_before_anything_else() {
    let live = PathBuf::from("/proc/77/ns/net");
    let goal = Desired { live_namespace: Some(live.clone()), ..desired(true, None, None) };
    let plan = attach(&goal, &host(), &empty());
    assert_eq!(plan.steps, [Step::PinNamespace { from: Some(live) }]);
}

#[test]
fn limits_are_held_while_the_switch_is_unknown() {
    let goal = desired(true, Some(8_000_000), None);
    let mut now = empty();
    let mut confirmed = true;
    for step in &attach(&goal, &host(), &now).steps {
        apply(&mut now, &mut confirmed, step);
    }
    now.switch = Observed::Unknown("ovsdb-server is down".to_owned());
    assert_eq!(attach(&goal, &host(), &now).steps, []);
    let faster = desired(true, Some(9_000_000), None);
    let plan = attach(&faster, &host(), &now);
    assert!(matches!(plan.steps[..], [Step::SetRate { .. }]), "{:?}", plan.steps);
    assert!(plan.blocked[0].contains("ovsdb-server is down"), "{:?}", plan.blocked);
}

//! Tests of the table of actions and of the decision.

use std::collections::BTreeSet;

use holdfast_api::selector;

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn kiel() -> Labels {
    Labels::from([("site".to_owned(), "kiel".to_owned())])
}

/// Actor with one role that reaches devices of Kiel alone.
fn of_kiel(role: Role) -> Actor {
    let selector = Some(selector::parse("site=kiel").unwrap());
    let grant = Grant { role, selector, by: "binding b1".into() };
    Actor::new(Who::Person("user anna".into()), name("acme"), vec![grant])
}

#[test]
fn each_action_has_a_word_and_a_route_of_its_own() {
    let words: BTreeSet<_> = Action::ALL.iter().map(|action| action.word()).collect();
    let routes: BTreeSet<_> = Action::ALL.iter().map(|action| action.route()).collect();
    assert_eq!((words.len(), routes.len()), (Action::ALL.len(), Action::ALL.len()));
    for action in Action::ALL {
        let (method, route) = action.route();
        assert_eq!(Action::of_route(method, route), Some(*action));
        assert_eq!(Action::of_word(action.word()), Some(*action));
        let (of, what) = action.word().split_once('.').unwrap();
        assert!(!of.is_empty() && !what.is_empty() && !what.contains('.'), "{action:?}");
    }
    assert_eq!(Action::of_route("GET", "/api/v1/backup"), None);
}

#[test]
fn an_admin_may_do_everything_and_a_viewer_changes_nothing() {
    for action in Action::ALL.iter().filter(|action| action.need() != Need::Own) {
        let (method, route) = action.route();
        assert!(action.roles().contains(&Role::Admin), "{action:?}");
        let changes = method != "GET" && !action.word().starts_with("me.");
        for role in [Role::Viewer, Role::Auditor, Role::Metrics] {
            assert!(!(changes && action.roles().contains(&role)), "{role} may {method} {route}");
        }
    }
    let of =
        |role: Role| Action::ALL.iter().filter(|action| action.roles().contains(&role)).count();
    assert!(of(Role::Metrics) < 12 && of(Role::Metrics) < of(Role::DeviceProvisioner));
    assert!(of(Role::Viewer) < of(Role::Operator) && of(Role::Operator) < of(Role::Admin));
    assert_eq!(Role::default(), Role::Viewer, "least privilege unless told otherwise");
}

#[test]
fn a_role_allows_its_actions_and_a_device_fetches_artifacts() {
    let tenant = name("acme");
    let object = Object { tenant: &tenant, name: "x", labels: None };
    let device = Actor::device(tenant.clone(), name("pump-1"));
    for action in Action::ALL {
        for role in Role::ALL {
            let actor = Actor::token(tenant.clone(), "a1", role);
            let answer = may(&actor, *action, &object);
            match action.need() {
                Need::Role(needed) if !needed.contains(&role) => {
                    let why = answer.unwrap_err().to_string();
                    assert!(
                        why.contains(needed[0].as_str()) && why.contains(role.as_str()),
                        "{why}"
                    );
                    assert!(
                        why.contains(action.word()) && why.contains("access token a1"),
                        "{why}"
                    );
                }
                _ => assert_eq!(answer.unwrap().action(), *action),
            }
        }
        let open = action.need() == Need::Own || *action == Action::GetArtifact;
        assert_eq!(may(&device, *action, &object).is_ok(), open, "{action:?}");
    }
}

#[test]
fn who_has_no_role_may_nothing_that_needs_one() {
    let tenant = name("acme");
    let nobody = Actor::new(Who::Person("user bob".into()), tenant.clone(), Vec::new());
    let object = Object { tenant: &tenant, name: "", labels: None };
    let mut own = Vec::new();
    for action in Action::ALL.iter().filter(|action| action.need() != Need::Own) {
        match may(&nobody, *action, &object) {
            Ok(_) => own.push(action.word()),
            Err(why) => assert!(why.to_string().contains("user bob has no role"), "{why}"),
        }
    }
    let expected = [
        "about.get",
        "about.licences",
        "me.password",
        "me.second-factor",
        "me.second-factor-confirm",
        "me.second-factor-end",
        "auth.whoami",
        "auth.can",
        "image.probe",
    ];
    assert_eq!(own, expected, "their own account, and what nobody owns");
    assert_eq!(explain(&nobody, Action::ChangeOwnPassword, &object).why, "everybody may");
}

#[test]
fn a_role_with_a_selector_reaches_what_it_selects() {
    let tenant = name("acme");
    let (inside, outside) = (kiel(), Labels::new());
    for action in Action::ALL.iter().filter(|action| action.roles().contains(&Role::Operator)) {
        let actor = of_kiel(Role::Operator);
        let ask = |labels| may(&actor, *action, &Object { tenant: &tenant, name: "x", labels });
        match action.reach() {
            Reach::Whole => {
                let why = ask(Some(&inside)).unwrap_err().to_string();
                assert!(why.contains("site=kiel") && why.contains("without a selector"), "{why}");
            }
            Reach::Device => {
                let permit = ask(Some(&inside)).unwrap();
                assert!(permit.sight().sees(&inside) && !permit.sight().sees(&outside));
                let denied = ask(Some(&outside)).unwrap_err();
                assert!(matches!(denied, Denied::Elsewhere { .. }), "{action:?}: {denied}");
            }
            Reach::Anything => assert!(ask(Some(&outside)).is_ok(), "{action:?}"),
        }
    }
}

#[test]
fn roles_of_one_actor_add_up() {
    let tenant = name("acme");
    let mut actor = of_kiel(Role::Operator);
    actor.grants.push(Grant { role: Role::Viewer, selector: None, by: "binding b2".into() });
    let outside = Labels::new();
    let object = Object { tenant: &tenant, name: "x", labels: Some(&outside) };
    assert!(may(&actor, Action::GetDevice, &object).unwrap().sight().is_all());
    assert!(may(&actor, Action::RevokeDevice, &object).is_err());
}

#[test]
fn a_sight_holds_selectors_that_can_select_nothing_outside_of_it() {
    let actor = of_kiel(Role::Operator);
    let sight = sight(&actor, &[Role::Operator]).unwrap();
    for (text, held) in [
        ("site=kiel", true),
        ("site=kiel,role=pump", true),
        ("role=pump", false),
        ("site in (kiel)", true),
        ("site in (kiel,bonn)", false),
        ("", false),
    ] {
        assert_eq!(sight.holds(&selector::parse(text).unwrap()), held, "{text}");
    }
    assert!(Sight::All.holds(&selector::parse("").unwrap()));
}

#[test]
fn an_object_of_another_tenant_is_not_there_for_anybody() {
    let (own, other) = (name("acme"), name("zeta"));
    let actor = Actor::token(own, "a1", Role::Admin);
    for action in Action::ALL {
        let object = Object { tenant: &other, name: "pump-1", labels: None };
        let denied = may(&actor, *action, &object);
        assert!(matches!(denied, Err(Denied::Elsewhere { .. })), "{action:?}");
    }
}

#[test]
fn a_caller_is_told_what_it_may_do_and_what_gave_it() {
    let told = described(&of_kiel(Role::Operator), None);
    assert_eq!((told.caller.as_str(), told.tenant.as_str()), ("user anna", "acme"));
    let granted = &told.grants[0];
    assert_eq!(granted.selector.as_deref(), Some("site=kiel"));
    let of = |word: &str| told.actions.iter().find(|it| it.action == word).unwrap();
    let revoke = of("device.revoke");
    assert!(revoke.allowed && revoke.reach.as_deref() == Some("site=kiel"), "{revoke:?}");
    assert_eq!(revoke.why, "role operator of binding b1");
    let backup = of("backup.read");
    assert!(!backup.allowed && backup.why.contains("needs the role admin"), "{backup:?}");
    let needing = Action::ALL.iter().filter(|action| action.need() != Need::Own).count();
    assert_eq!(told.actions.len(), needing);
}

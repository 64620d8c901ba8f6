//! `RoleBinding`: a role for people, on all devices or on some.
//!
//! See decision 0158.

use super::{PolicyRules, Preview};
use crate::admission::At;
use crate::admission::document::devices;
use crate::admission::roles::ROLES;
use crate::people::Binding;
use crate::policies::some;
use crate::records::Policy;
use holdfast_api::selector::Selector;
use holdfast_base::ids::Name;

/// Most people of a binding.
const MAX_SUBJECTS: usize = 1_000;

/// Implementation of the kind `RoleBinding`.
#[derive(Debug)]
pub(super) struct RoleBinding;

impl PolicyRules for RoleBinding {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        at.object("Role, who gets it, and the devices that it reaches.", "", |spec| {
            let role = spec.required(
                "role",
                "Role that the people get.",
                "which role, such as operator",
                |at| at.word(&ROLES),
            );
            let subjects = spec.required(
                "subjects",
                "People who get the role: names of local users, or NAME@PROVIDER for those of an identity provider; at least one, at most 1,000.",
                "who gets it, such as [anna]",
                |at| at.list(MAX_SUBJECTS, ", such as anna or bob@corp", subject),
            );
            let devices = spec.required(
                "devices",
                "Devices that the role reaches: `all`, or a selector of labels. With a selector, what is about the tenant as a whole is not allowed. An empty selector is refused.",
                "which devices it reaches: all, or such as { matchLabels: { site: kiel } }",
                devices,
            );
            let binding = Box::new(Binding { role: role?, subjects: subjects? });
            Some((devices?, Policy::RoleBinding { binding }))
        })
    }

    fn effect(&self, devices: u64, _preview: &Preview) -> String {
        format!("reaches {}", some(devices, "device"))
    }
}

/// Error for a text that names nobody.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}: expected the name of a local user, or NAME@PROVIDER")]
struct NoSubject(String);

/// One of `subjects`.
fn subject(at: &At<'_>) -> Option<Box<str>> {
    at.parsed(|text| {
        let fine = match text.rsplit_once('@') {
            None => text.parse::<Name>().is_ok(),
            // What a provider calls a person is the provider's matter.
            Some((name, provider)) => {
                let odd = name.chars().any(|c| c.is_control() || c.is_whitespace());
                provider.parse::<Name>().is_ok() && !name.is_empty() && name.len() <= 200 && !odd
            }
        };
        if fine { Ok(text.into()) } else { Err(NoSubject(text.chars().take(80).collect())) }
    })
}

#[cfg(test)]
mod tests {
    use holdfast_api::Role;
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::{What, admit};

    fn judge(spec: &Value) -> Result<(Binding, Selector), String> {
        let document = json!({
            "apiVersion": "holdfast/v1", "kind": "RoleBinding", "metadata": { "name": "b" }, "spec": spec,
        });
        match admit(&[document], &|_| None) {
            Ok(admitted) => match &admitted[0].what {
                What::Policy(policy) => match &**policy {
                    Policy::RoleBinding { binding } => {
                        Ok(((**binding).clone(), admitted[0].devices.clone()))
                    }
                    _ => panic!("another kind"),
                },
                What::Workload(..) => panic!("a workload"),
            },
            Err(faults) => Err(format!("{}: {}", faults[0].path, faults[0].message)),
        }
    }

    #[test]
    fn a_binding_says_who_gets_which_role_where() {
        let spec =
            json!({ "role": "operator", "subjects": ["anna", "b.o+b@corp"], "devices": "all" });
        let (binding, devices) = judge(&spec).unwrap();
        assert_eq!((binding.role, binding.subjects.len()), (Role::Operator, 2));
        assert!(devices.is_empty());
        let spec = json!({ "role": "viewer", "subjects": ["anna"], "devices": { "matchLabels": { "site": "kiel" } } });
        assert_eq!(judge(&spec).unwrap().1.words(), "site=kiel");
        for (role, subjects, said) in [
            ("root", json!(["anna"]), "spec.role: \"root\": unknown role"),
            ("viewer", json!([]), "spec.subjects: an empty list"),
            ("viewer", json!(["Anna B"]), "spec.subjects[0]: \"Anna B\": expected the name"),
            ("viewer", json!(["anna@"]), "spec.subjects[0]: \"anna@\": expected the name"),
            ("viewer", json!(["@corp"]), "spec.subjects[0]: \"@corp\": expected the name"),
        ] {
            let spec = json!({ "role": role, "subjects": subjects, "devices": "all" });
            let refused = judge(&spec).unwrap_err();
            assert!(refused.starts_with(said), "{refused}");
        }
        let everywhere = json!({ "role": "viewer", "subjects": ["anna"], "devices": {} });
        assert!(judge(&everywhere).is_err(), "an empty selector is no choice");
    }
}

//! Words of the roles, as documents give them.

use super::at::Words;
use holdfast_api::Role;

/// Words of `role`.
pub(crate) const ROLES: Words<'static, Role> = Words {
    about: "Role that is given.",
    what: "role",
    list: &[
        ("viewer", "Reads devices, workloads, logs, streams and alarms.", Role::Viewer),
        (
            "operator",
            "Also changes workloads, documents, devices and enrolment tokens.",
            Role::Operator,
        ),
        ("admin", "May do everything in the tenant.", Role::Admin),
        (
            "device-provisioner",
            "Makes enrolment tokens and admits devices.",
            Role::DeviceProvisioner,
        ),
        ("auditor", "Reads and verifies the audit log and who may do what.", Role::Auditor),
        ("metrics", "Reads figures for Prometheus.", Role::Metrics),
    ],
    or: &[],
};

//! Report of a damaged buffer: said until somebody has deleted the file that was set aside, over
//! restarts of the agent too.
//!
//! See decision 0069.

/// Presence of a damaged file that was set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Aside {
    /// No such file was seen since the agent started.
    #[default]
    No,
    /// The file is there.
    Here,
    /// The file was removed by somebody, while this damage was reported.
    Gone(Option<String>),
}

impl Aside {
    /// Next state, by whether the file is `there` now; `said` is the damage reported now.
    pub fn look(self, there: bool, said: Option<&str>) -> Self {
        match (self, there) {
            (_, true) => Self::Here,
            (Self::Here, false) => Self::Gone(said.map(str::to_owned)),
            (before @ (Self::No | Self::Gone(_)), false) => before,
        }
    }

    /// Problem text of a damaged buffer, whose damage is reported as `said`. `path` is that of the
    /// file set aside, for a person. None: there is no damage, or somebody has looked at it.
    pub fn problem(&self, said: Option<&str>, path: &str) -> Option<String> {
        let heal = format!("delete {path} when you have looked at it, and this is over");
        match (said, self) {
            (Some(why), Self::Here) => Some(format!("{why}; {heal}")),
            (None, Self::Here) => Some(format!(
                "the buffer was damaged before the agent was started, and set aside; what was in it stands in the gap ledger; {heal}"
            )),
            (Some(why), Self::Gone(then)) if then.as_deref() == Some(why) => None,
            (Some(why), Self::No | Self::Gone(_)) => Some(why.to_owned()),
            (None, Self::No | Self::Gone(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_said_over_restarts_until_what_was_set_aside_is_deleted() {
        let path = "/data/data.damaged";
        let mut aside = Aside::default();
        assert_eq!(aside.problem(None, path), None);
        assert_eq!(aside.problem(Some("it is gone"), path).unwrap(), "it is gone");
        aside = aside.look(false, None).look(true, Some("damaged"));
        let said = aside.problem(Some("damaged"), path).unwrap();
        assert!(said.starts_with("damaged; delete /data/data.damaged"), "{said}");
        let later = Aside::default().look(true, None).problem(None, path).unwrap();
        assert!(later.contains("delete /data/data.damaged"), "{later}");
        aside = aside.look(false, Some("damaged"));
        assert_eq!(aside.problem(Some("damaged"), path), None, "somebody has looked at it");
        aside = aside.look(false, Some("damaged again"));
        assert_eq!(aside.problem(Some("damaged again"), path).unwrap(), "damaged again");
    }
}

//! Codes of a device's problems: one table with what each means, what helps and who reports it.
//! The same table is printed in PROTOCOL.md, and the control plane answers its cures. The agent
//! links the words alone: whoever calls no [`ProblemCode::cure`] has no text of one in the program.
//!
//! See decision 0144.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Program that notices a problem and reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reporter {
    /// The agent, in its reports.
    Device,
    /// The control plane, from what it sees or does not see of the device.
    ControlPlane,
    /// The agent or the control plane, each from what it knows.
    Both,
}

impl Reporter {
    /// Returns the reporter as PROTOCOL.md names it, such as `device`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::ControlPlane => "control plane",
            Self::Both => "both",
        }
    }
}

/// Part of a device that a problem is about: where more is shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The agent, its disk, its clock or its identity.
    Device,
    /// The link and its budget.
    Link,
    /// Data streams: their ways in, the buffer, their policies.
    Streams,
}

macro_rules! problem_codes {
    ($($name:ident $word:literal, $reporter:ident, $area:ident, $meaning:literal, $cure:literal;)*) => {
        /// Known code of a problem. See the module's documentation for what belongs to it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ProblemCode {
            $(#[doc = $meaning] $name,)*
        }

        impl ProblemCode {
            /// All codes, sorted by their words.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the word of the code on the wire and in the API, such as `disk-full`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Returns the name of the code in the sources, such as `DiskFull`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Returns the meaning of the code for a person, without a full stop.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// Returns what a person can do about the problem, without a full stop.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)* }
            }

            /// Returns who reports problems of this code.
            pub const fn reporter(self) -> Reporter {
                match self { $(Self::$name => Reporter::$reporter,)* }
            }

            /// Returns the part of the device that problems of this code are about.
            pub const fn area(self) -> Area {
                match self { $(Self::$name => Area::$area,)* }
            }
        }
    };
}

problem_codes! {
    AuditContradicted "audit-contradicted", Device, Device,
        "the control plane shows an audit log that is older than the one that the device saw before, or contradicts it",
        "verify the audit log with the devices as witnesses (page Activity): an older copy of the store was put back without a word, or somebody rewrote the log; a restore from a backup says so in the log, and ends the problem";
    Bus "bus", Device, Streams,
        "the local bus cannot listen on its port or its socket",
        "end the other program that has the port, or set another port of the bus in the agent's configuration; the agent tries again by itself";
    BusCredentials "bus-credentials", Device, Streams,
        "the port or the keys of the local bus could not be read or kept",
        "make the file that the message names readable and writable for the agent; make lost local accesses anew on the device";
    CertificateExpired "certificate-expired", Device, Device,
        "the device cannot connect until its certificate is renewed",
        "set the device's clock if it is wrong, and let the device reach the HTTPS port of the control plane: it renews by itself";
    CertificateNotStored "certificate-not-stored", Device, Device,
        "a renewed certificate serves, but could not be stored yet",
        "free some space on the device's disk, or make its data folder writable: it is stored by itself";
    Clock "clock", Device, Device,
        "the clock is behind what is known of the time",
        "set the device's clock, or give it a time service";
    DataDamaged "data-damaged", Device, Streams,
        "the buffer of data streams was damaged; what is lost stands in the gap ledger",
        "look at what was set aside, delete it, and check the device's disk";
    DataFolderClosed "data-folder-closed", Device, Device,
        "other users may not enter a folder on the way to the agent's data: workloads cannot start as users of their own",
        "let others pass through the folder that the message names (mode o+x)";
    DataNotStored "data-not-stored", Device, Streams,
        "data streams are not taken in, since their records cannot be stored",
        "free some space on the device's disk: records are taken again by themselves";
    DataRejected "data-rejected", Device, Streams,
        "the control plane does not take some records",
        "read the reason in the message; an agent that is newer or older than the control plane wants the same version";
    DataSocket "data-socket", Device, Streams,
        "the HTTP socket for records cannot be served",
        "make the path that the message names free and writable for the agent";
    DataSpace "data-space", Device, Streams,
        "the disk has less room than data streams may use: older records go sooner",
        "free some space on the device's disk, or lower the quotas of its streams";
    DataStopped "data-stopped", Device, Streams,
        "data streams are not taken in until the agent is started again",
        "restart the agent, and look at its log for the cause; workloads go on meanwhile";
    DesiredNotStored "desired-not-stored", Device, Device,
        "a desired state could not be stored, and is not acted on before it is, but for workloads that it ends",
        "free some space on the device's disk, or make its data folder writable";
    DesiredRefused "desired-refused", Device, Device,
        "a desired state from the control plane was refused: forged, foreign, stale or malformed, as the message says",
        "if the control plane was put back or replaced, enrol the device with it anew; else look for who else publishes to the device";
    DesiredUntrusted "desired-untrusted", Device, Device,
        "the desired state on the device's own disk does not verify; what ran goes on",
        "let the device connect: the next desired state replaces it";
    DiskFull "disk-full", Device, Device,
        "nothing can be stored; workloads run on, changes wait",
        "free some space on the device's disk: what waits goes on by itself";
    DiskLow "disk-low", Device, Device,
        "less space is left than the agent wants",
        "free some space on the device's disk before it is full";
    EngineAway "engine-away", Device, Device,
        "workloads want a container engine, and it does not answer: what ran in it is presumed to run, and nothing can be started in it",
        "start the engine on the device, or install one (Docker 20.10 or newer, Podman 4 or newer with podman.socket); another socket stands in the agent's configuration ([containers] socket); what waits goes on by itself";
    IdentityTwice "identity-twice", Both, Device,
        "another machine uses the device's identity at the same time: its data folder was copied",
        "on the machine that is the copy, stop the agent, delete its data folder and enrol it with a name of its own";
    IntakeRefused "intake-refused", Device, Streams,
        "records or messages of a workload or of another program were refused",
        "change the program that the message names, or the rights that its document gives it";
    LimitsNotEnforced "limits-not-enforced", Device, Device,
        "control groups do not enforce resource limits of workloads on this system: which limit is kept in another way, and which not at all",
        "give the agent a control group of its own (version 2, delegated by its systemd unit)";
    LinkBudget "link-budget", Device, Link,
        "the cause why classes of traffic wait for the link budget; one problem, however many wait: the waits of its link tell which, and until when",
        "wait for the next period, or raise the budget or its shares in the LinkBudget document";
    LinkRefused "link-refused", Device, Link,
        "the control plane answers and refuses: revoked, pending, unknown, another CA",
        "approve the device, or enrol it with this control plane anew";
    LocalAccess "local-access", Device, Streams,
        "a local access has the name of a workload and has no effect",
        "remove the local access on the device, and make it anew under another name";
    NotAnswering "not-answering", ControlPlane, Link,
        "the device does not answer though its connection is open",
        "wait until the connection ends or the device answers; if it stays so, restart the agent on the device";
    NotEnrolled "not-enrolled", Device, Device,
        "the device has no identity yet",
        "enrol the device with a token";
    RolledBack "rolled-back", Both, Device,
        "the device's data folder is an earlier state of itself, or a copy",
        "nothing, if the device was restored on purpose: it goes on above all numbers that are known, and the problem ends after a day";
    SecretsNotOpened "secrets-not-opened", Device, Device,
        "secrets of workloads cannot be opened, or not be given to them: those that run go on as they were",
        "what the message says; if it is sealed to another key, wait for the device's next renewal or apply the secret anew";
    Sources "sources", Device, Streams,
        "a stream that the agent fills itself (from a log or from figures of the system) gets nothing",
        "correct the source of the stream in its document, as the message says";
    StatusSocket "status-socket", Device, Device,
        "the agent's status command gets no answer: its socket cannot be made",
        "make the path that the message names free and writable for the agent";
    Store "store", Device, Device,
        "the agent's store cannot be read or written",
        "make the data folder writable for the agent, and check the device's disk";
    StoreRecovered "store-recovered", Device, Device,
        "the agent's store was damaged and has been rebuilt",
        "check the device's disk; the problem ends when the agent is started again";
    StreamPolicy "stream-policy", ControlPlane, Streams,
        "the policy of a stream does not have the effect that it describes",
        "correct the policy in its document, or the records that the message is about";
    SubscriptionRefused "subscription-refused", Device, Link,
        "the broker refuses one of the topics that the device subscribes to; nothing reaches it there",
        "let the broker's rules allow the device the topic that the message names: it tries again by itself";
    WaitingForApproval "waiting-for-approval", Device, Device,
        "a person has to approve the device",
        "approve the device, or delete it";
}

impl ProblemCode {
    /// Parses a word of the wire. None: no code of this version has it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == word)
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Code of a problem as it travels. A newer agent, or one of another maker, may use codes that this
/// version does not know: they are kept and shown as they are. Compared by their words.
#[derive(Debug, Clone)]
pub enum Code {
    /// Code of the table in this version.
    Known(ProblemCode),
    /// Word that is not in the table of this version.
    Other(String),
}

impl Code {
    /// Returns the word of the code, such as `disk-full`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(code) => code.as_str(),
            Self::Other(word) => word,
        }
    }

    /// Returns the code if this version knows it.
    pub fn known(&self) -> Option<ProblemCode> {
        match self {
            Self::Known(code) => Some(*code),
            Self::Other(_) => None,
        }
    }
}

impl From<ProblemCode> for Code {
    fn from(code: ProblemCode) -> Self {
        Self::Known(code)
    }
}

impl From<&str> for Code {
    fn from(word: &str) -> Self {
        ProblemCode::parse(word).map_or_else(|| Self::Other(word.to_owned()), Self::Known)
    }
}

impl From<String> for Code {
    fn from(word: String) -> Self {
        ProblemCode::parse(&word).map_or(Self::Other(word), Self::Known)
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Code {}

impl PartialEq<ProblemCode> for Code {
    fn eq(&self, other: &ProblemCode) -> bool {
        self.known() == Some(*other)
    }
}

impl PartialOrd for Code {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Code {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail loudly")]

    use super::*;

    #[test]
    fn every_code_has_a_word_of_its_own_a_meaning_and_a_cure() {
        let words: Vec<&str> = ProblemCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(words.is_sorted_by(|one, next| one < next), "sorted and once each: {words:?}");
        for code in ProblemCode::ALL {
            assert_eq!(ProblemCode::parse(code.as_str()), Some(*code));
            let kebab = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            assert!(code.as_str().bytes().all(kebab), "{code}");
            for text in [code.meaning(), code.cure()] {
                let whole = text.split_whitespace().count() > 3 && !text.ends_with('.');
                assert!(whole && !text.contains('|'), "{code}: {text:?}");
            }
        }
    }

    #[test]
    fn a_code_of_a_newer_agent_is_carried_as_it_is() {
        for (word, known) in [("disk-full", Some(ProblemCode::DiskFull)), ("warp-core", None)] {
            let text = format!("{word:?}");
            let code: Code = serde_json::from_str(&text).unwrap();
            assert_eq!((code.known(), code.as_str()), (known, word));
            assert_eq!(serde_json::to_string(&code).unwrap(), text);
            assert_eq!(code, Code::from(word));
        }
        let mut codes = ["warp-core", "disk-full", "bus"].map(Code::from);
        codes.sort();
        assert_eq!(codes.each_ref().map(Code::as_str), ["bus", "disk-full", "warp-core"]);
    }
}

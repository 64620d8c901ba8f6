//! Commands of the agent's command line as one table: the parser, the help, the manual pages and the
//! completions are made of it.
//!
//! See decision 0141.

/// One command with its options and its subcommands.
#[derive(Debug)]
pub struct Command {
    /// Name as it is typed.
    pub name: &'static str,
    /// Purpose in one line.
    pub about: &'static str,
    /// Text after the options: examples and notes. May be empty.
    pub after: &'static str,
    /// Positional argument, if the command takes one; it is required.
    pub argument: Option<Argument>,
    /// Options without `--help` and `--version`, which every command has.
    pub options: &'static [Opt],
    /// Subcommands. With any, one of them must be given.
    pub commands: &'static [Command],
    /// True for commands that only the agent itself and tests call; the help leaves them out.
    pub hidden: bool,
}

/// Positional argument of a command.
#[derive(Debug)]
pub struct Argument {
    /// Name of the value, such as `NAME`.
    pub value: &'static str,
    /// Meaning of the value.
    pub help: &'static str,
}

/// Option that takes a value.
#[derive(Debug)]
pub struct Opt {
    /// Long name without the dashes.
    pub long: &'static str,
    /// Short name, if it has one.
    pub short: Option<char>,
    /// Name of the value, such as `FILE`.
    pub value: &'static str,
    /// Meaning of the option.
    pub help: &'static str,
    /// Environment variable that gives the value when the option is absent.
    pub env: Option<&'static str>,
    /// True if the option may be given more than once.
    pub repeats: bool,
    /// True if the option must be given.
    pub required: bool,
    /// Values that are allowed, the first of which is the default. Empty: any value.
    pub choices: &'static [&'static str],
    /// Long name of an option that must not be given beside this one.
    pub excludes: Option<&'static str>,
}

/// Option without anything special, for the table.
const PLAIN: Opt = Opt {
    long: "",
    short: None,
    value: "",
    help: "",
    env: None,
    repeats: false,
    required: false,
    choices: &[],
    excludes: None,
};

/// Command without anything, for the table.
const BARE: Command = Command {
    name: "",
    about: "",
    after: "",
    argument: None,
    options: &[],
    commands: &[],
    hidden: false,
};

const DATA: Opt = Opt {
    long: "data",
    value: "DIR",
    help: "Folder of everything that the agent stores",
    env: Some("HOLDFAST_AGENT_DATA"),
    ..PLAIN
};

const OUTPUT: Opt = Opt {
    long: "output",
    short: Some('o'),
    value: "OUTPUT",
    help: "Format of the output",
    choices: &["text", "json"],
    ..PLAIN
};

const ACCESS_CONFIG: Opt = Opt {
    long: "config",
    value: "FILE",
    help: "Configuration file of the agent, if it is started with one: for [bus] port, [downloads] parallel, [neighbours] port, bytes_per_second, [time] zone",
    ..PLAIN
};

/// The program: the root of the table.
pub static PROGRAM: Command = Command {
    name: "holdfast-agent",
    about: "Runs the workloads of this device, through every outage",
    commands: &[
        Command {
            name: "enroll",
            about: "Enrol this device with a control plane",
            after: "Examples:\n  holdfast-agent enroll --url https://control:8443 --token-file /run/token\n  HOLDFAST_TOKEN=hf1... holdfast-agent enroll --url https://10.0.0.5:8443 --name pump-7 --label site=berlin\n\nThe token comes from `holdfast token create`. Repeating an enrolment gives the same device; with another --name it is refused.\nExit codes: 0 done (also: waits for approval), 1 failed, 2 bad usage, 4 refused.",
            options: &[
                Opt {
                    long: "url",
                    value: "URL",
                    help: "URL of the control plane, https://HOST:PORT",
                    required: true,
                    ..PLAIN
                },
                Opt {
                    long: "token",
                    value: "TOKEN",
                    help: "Enrolment token; better: --token-file or HOLDFAST_TOKEN, which the process list does not show",
                    excludes: Some("token-file"),
                    ..PLAIN
                },
                Opt {
                    long: "token-file",
                    value: "FILE",
                    help: "File that holds the token; it goes before HOLDFAST_TOKEN",
                    ..PLAIN
                },
                Opt {
                    long: "name",
                    value: "NAME",
                    help: "Name to ask for; without it, the control plane makes one",
                    ..PLAIN
                },
                Opt {
                    long: "label",
                    value: "K=V",
                    help: "Label to claim, key=value; repeatable. It counts if the token allows it or a person approves; the token's own labels win",
                    repeats: true,
                    ..PLAIN
                },
                DATA,
            ],
            ..BARE
        },
        Command {
            name: "run",
            about: "Run the agent: a system service calls this",
            after: "Examples:\n  holdfast-agent run\n  holdfast-agent run --data /srv/holdfast --config /etc/holdfast/agent.toml\n\nWorkloads outlive the agent: stopping or restarting it stops none of them.",
            options: &[
                Opt {
                    long: "config",
                    value: "FILE",
                    help: "Configuration in TOML: [link] keep_alive_seconds, [logs] bytes_per_workload, [storage] quota_bytes, reserve_bytes, endurance_bytes, [bus] port",
                    ..PLAIN
                },
                DATA,
            ],
            ..BARE
        },
        Command {
            name: "status",
            about: "Show workloads, problems, data and the link of this device; works without any link",
            after: "Examples:\n  holdfast-agent status\n  holdfast-agent status -o json | jq '.problems'",
            options: &[OUTPUT, DATA],
            ..BARE
        },
        Command {
            name: "local-access",
            about: "Let programs that the agent does not run put data in: MQTT and HTTP, like a workload",
            after: "Examples:\n  holdfast-agent local-access create plc-reader\n  holdfast-agent local-access create plc-reader -o json | jq -r .password\n  holdfast-agent local-access create viewer --subscribe 'sensors/+' -o env > viewer.env\n  holdfast-agent local-access list\n\nIt works beside a running agent, which needs no restart, and before its first start. Creating one that is there gives it again, with the rights that it has.",
            commands: &[
                Command {
                    name: "create",
                    about: "Make a local access, or show the existing one",
                    after: "Filters that are given take the place of the former ones of their kind; without any, the one that there is keeps its rights. To take them all away, remove it.\n\nExamples:\n  holdfast-agent local-access create viewer --subscribe 'sensors/+'\n  mosquitto_sub ... -t 'workloads/sensors/+'    # what viewer then reads\n  eval \"$(holdfast-agent local-access create viewer -o env)\"",
                    argument: Some(Argument {
                        value: "NAME",
                        help: "User name of the access: 1 to 63 of a-z, 0-9 and '-', and not the name of a workload",
                    }),
                    options: &[
                        Opt {
                            long: "subscribe",
                            value: "NAME/TOPIC",
                            help: "Topics of workloads that the access may subscribe to, such as pump/#; the client calls them workloads/NAME/TOPIC; repeatable",
                            repeats: true,
                            ..PLAIN
                        },
                        Opt {
                            long: "publish",
                            value: "NAME/TOPIC",
                            help: "Topics of workloads that the access may publish to, such as pump/set/+; the client calls them workloads/NAME/TOPIC; repeatable",
                            repeats: true,
                            ..PLAIN
                        },
                        Opt {
                            help: "Format of the output; env: lines HOLDFAST_MQTT_HOST=... for a shell or an EnvironmentFile",
                            choices: &["text", "json", "env"],
                            ..OUTPUT
                        },
                        ACCESS_CONFIG,
                        DATA,
                    ],
                    ..BARE
                },
                Command {
                    name: "list",
                    about: "Show the names of all local accesses",
                    options: &[OUTPUT, ACCESS_CONFIG, DATA],
                    ..BARE
                },
                Command {
                    name: "remove",
                    about: "Remove a local access: clients connected with it are disconnected",
                    argument: Some(Argument {
                        value: "NAME",
                        help: "Name of the access to remove",
                    }),
                    options: &[ACCESS_CONFIG, DATA],
                    ..BARE
                },
            ],
            ..BARE
        },
        Command {
            name: "launch",
            about: "Launcher that becomes a workload; started by the agent",
            hidden: true,
            ..BARE
        },
        Command {
            name: "crash-points",
            about: "Show the names of the places where a debug build can be made to crash",
            hidden: true,
            ..BARE
        },
    ],
    ..BARE
};

/// Returns the commands of a path of names below the program, the program first. A name that is not
/// there ends the path.
pub fn path(names: &[&str]) -> Vec<&'static Command> {
    let (mut path, mut last) = (vec![&PROGRAM], &PROGRAM);
    for name in names {
        let Some(found) = last.commands.iter().find(|command| command.name == *name) else { break };
        path.push(found);
        last = found;
    }
    path
}

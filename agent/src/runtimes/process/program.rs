//! Explanation why a file cannot be executed, from the error and the file's first bytes: the kernel
//! has one error number for many causes.
//!
//! See decision 0070.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

/// Bytes read of a file: the kernel reads 256 of a script, and the headers of ELF files fit, too.
const HEAD: usize = 4096;
/// Text about a script with Windows line ends.
const WINDOWS_LINE_ENDS: &str =
    "its first line ends with a carriage return: save it with Unix line ends (LF, not CR LF)";
/// Longest first line of a script that the kernel takes, in bytes.
const LINE: usize = 255;
/// Most interpreters of interpreters that are followed; the kernel follows five.
const DEPTH: u32 = 4;

/// Explains why the kernel refused to execute this program with this error.
pub(super) fn why_not(program: &Path, error: &io::Error) -> String {
    sentence(program, &explain(program, error, 0))
}

/// Sentence about a program that cannot be executed.
fn sentence(program: &Path, why: &str) -> String {
    format!("{} cannot be executed: {why}", program.display())
}

/// Explains why a script should not even be tried: its first line ends with a carriage return,
/// which the kernel would take as part of the interpreter's name or argument.
pub(super) fn windows_line_ends(program: &Path) -> Option<String> {
    let head = head(&open(program).ok()?);
    let line = first_line(&head)?;
    line.ends_with(b"\r").then(|| sentence(program, WINDOWS_LINE_ENDS))
}

/// Finds the folder on the path to this file that this process may not enter.
pub(super) fn closed(path: &Path) -> Option<PathBuf> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let refuses = |folder: &&Path| {
        rustix::fs::access(*folder, Access::EXEC_OK).is_err_and(|error| error == Errno::ACCESS)
    };
    above.into_iter().filter(|it| !it.as_os_str().is_empty()).find(refuses).map(Into::into)
}

/// Text about the folder on the path to this file that this user may not enter, if there is one.
pub(super) fn explain_closed(path: &Path) -> Option<String> {
    let user = rustix::process::geteuid().as_raw();
    closed(path).map(|folder| {
        let folder = folder.display();
        format!("user {user} may not enter {folder} (others need the right x on it)")
    })
}

fn open(program: &Path) -> io::Result<File> {
    // A pipe or a device of that name must not block, nor notice that it was opened.
    if !std::fs::metadata(program)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(program)
}

fn head(file: &File) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    let length = file.read_at(&mut head, 0).unwrap_or(0);
    head.truncate(length);
    head
}

fn explain(program: &Path, error: &io::Error, depth: u32) -> String {
    let errno = Errno::from_io_error(error);
    let meta = match std::fs::metadata(program) {
        Ok(meta) => meta,
        Err(error) => return absent(program, &error),
    };
    if meta.is_dir() {
        return "it is a folder".into();
    }
    if !meta.is_file() {
        return "it is no regular file".into();
    }
    match errno {
        Some(Errno::ACCESS) if rustix::fs::access(program, Access::EXEC_OK).is_err() => {
            forbidden(program, meta.mode())
        }
        Some(Errno::NOENT | Errno::NOEXEC | Errno::ACCESS | Errno::LIBBAD | Errno::LOOP) => {
            unfit(program, error, depth)
        }
        Some(Errno::IO | Errno::INVAL) => {
            format!("it is damaged or cut off, or cannot be read from its disk: {error}")
        }
        Some(Errno::TXTBSY) => "somebody has it open for writing: is it still being copied?".into(),
        Some(Errno::TOOBIG) => "its arguments and variables are more than this system takes".into(),
        Some(Errno::AGAIN) => "its user runs as many processes as it may".into(),
        _ => error.to_string(),
    }
}

/// Explains why the file cannot be found.
fn absent(program: &Path, error: &io::Error) -> String {
    match std::fs::read_link(program) {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => {
            format!("it is a link to {}, which is not there", target.display())
        }
        _ => match Errno::from_io_error(error) {
            Some(Errno::NOENT) => "there is no such file".into(),
            Some(Errno::NOTDIR) => "a part of its path is no folder".into(),
            Some(Errno::LOOP) => "its path is a circle of links".into(),
            Some(Errno::ACCESS) => explain_closed(program).unwrap_or_else(|| error.to_string()),
            _ => error.to_string(),
        },
    }
}

/// Explains why this user may not execute the file.
fn forbidden(program: &Path, mode: u32) -> String {
    let mount = rustix::fs::statvfs(program).ok();
    if mount.is_some_and(|it| it.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
        return "it lies on a file system that is mounted noexec".into();
    }
    let mode = mode & 0o7777;
    if mode & 0o111 == 0 {
        return format!("it has no execute permission (mode {mode:04o}), such as 0755 has");
    }
    let user = rustix::process::geteuid().as_raw();
    format!("user {user} may not execute it (mode {mode:04o})")
}

/// Explains why the kernel does not take a file that may be executed: what it is, or what it needs.
fn unfit(program: &Path, error: &io::Error, depth: u32) -> String {
    let Ok(file) = open(program) else {
        return "this device does not know its format, or lacks the interpreter or loader that it names".into();
    };
    let head = head(&file);
    let read = |offset: u64, length: usize| {
        let mut bytes = vec![0; length.min(HEAD)];
        let length = file.read_at(&mut bytes, offset).unwrap_or(0);
        bytes.truncate(length);
        bytes
    };
    // ENOEXEC concerns the file's own format; a missing loader gives other errors.
    let is_taken = Errno::from_io_error(error) != Some(Errno::NOEXEC);
    let (what, needed) = match (interpreter(&head), loader(&head, &read)) {
        (Some(path), _) => ("interpreter", path),
        (_, Some(path)) if is_taken => ("loader", path),
        _ if matches!(Errno::from_io_error(error), Some(Errno::NOEXEC | Errno::LIBBAD)) => {
            return format_fault(&head, rustix::system::uname().machine().to_bytes());
        }
        _ => return format!("this system forbids it: {error}"),
    };
    if needed.ends_with(b"\r") {
        return WINDOWS_LINE_ENDS.into();
    }
    let shown = String::from_utf8_lossy(&needed).escape_debug().to_string();
    let path = Path::new(OsStr::from_bytes(&needed));
    match std::fs::metadata(path) {
        Ok(_) if depth < DEPTH => {
            let why = explain(path, error, depth + 1);
            format!("its {what} {shown}: {why}")
        }
        Ok(_) => format!("its {what} {shown}: {error}"),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            format!("its {what} {shown}: {}", absent(path, &error))
        }
        Err(_) if what == "loader" => {
            format!("its loader {shown} is not there: it was built for another system or C library")
        }
        Err(_) => format!("its interpreter {shown} is not there"),
    }
}

/// First line of a script, without `#!` and the line end.
fn first_line(head: &[u8]) -> Option<&[u8]> {
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    (line.len() < LINE).then_some(line)
}

/// Interpreter that a script names.
fn interpreter(head: &[u8]) -> Option<Vec<u8>> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut words = first_line(head)?.split(blank).filter(|word| !word.is_empty());
    words.next().map(<[u8]>::to_vec)
}

/// Reads a number of `size` bytes at a position, in either byte order.
fn number(bytes: &[u8], at: usize, size: usize, big: bool) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    let add = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
    Some(if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
}

/// Class of an ELF file: whether it is 64-bit, and whether it is big-endian.
fn elf(head: &[u8]) -> Option<(bool, bool)> {
    head.starts_with(b"\x7fELF").then_some(())?;
    Some((head.get(4)? == &2, head.get(5)? == &2))
}

/// Loader that an ELF file names (`PT_INTERP`).
fn loader(head: &[u8], read: &dyn Fn(u64, usize) -> Vec<u8>) -> Option<Vec<u8>> {
    let (wide, big) = elf(head)?;
    let field = |narrow: (usize, usize), broad: (usize, usize)| {
        let (at, size) = if wide { broad } else { narrow };
        number(head, at, size, big)
    };
    let table = field((28, 4), (32, 8))?;
    let each = usize::try_from(field((42, 2), (54, 2))?).ok()?;
    let count = usize::try_from(field((44, 2), (56, 2))?).ok()?;
    let table = read(table, each.checked_mul(count)?);
    let entry =
        table.chunks_exact(each.max(1)).find(|entry| number(entry, 0, 4, big) == Some(3))?;
    let at = |narrow: usize, broad: usize| {
        if wide { number(entry, broad, 8, big) } else { number(entry, narrow, 4, big) }
    };
    let name = read(at(4, 8)?, usize::try_from(at(16, 32)?).ok()?);
    let name = name.split(|&byte| byte == 0).next()?;
    (!name.is_empty()).then(|| name.to_vec())
}

/// Machine that an ELF file is for.
fn machine(head: &[u8]) -> Option<String> {
    let (wide, big) = elf(head)?;
    let number = number(head, 18, 2, big)?;
    let name = match (number, wide, big) {
        (3, ..) => "x86 (32 bit)",
        (8, false, true) => "mips",
        (8, false, false) => "mipsel",
        (8, true, true) => "mips64",
        (8, true, false) => "mips64el",
        (20, ..) => "ppc",
        (21, _, true) => "ppc64",
        (21, _, false) => "ppc64le",
        (22, ..) => "s390x",
        (40, ..) => "arm (32 bit)",
        (62, ..) => "x86_64",
        (183, _, true) => "aarch64_be",
        (183, _, false) => "aarch64",
        (243, true, _) => "riscv64",
        (243, false, _) => "riscv32",
        (258, ..) => "loongarch64",
        _ => return Some(format!("a processor of another kind (ELF machine {number})")),
    };
    Some(name.into())
}

/// Name of the device's machine, as [`machine`] would give it.
fn this_machine(uname: &[u8]) -> String {
    match uname {
        [b'i', _, b'8', b'6'] => "x86 (32 bit)".into(),
        [b'a', b'r', b'm', ..] => "arm (32 bit)".into(),
        other => String::from_utf8_lossy(other).into_owned(),
    }
}

/// Explains by its first bytes why a file is not a program for a device with this machine, as
/// `uname` names it.
fn format_fault(head: &[u8], uname: &[u8]) -> String {
    let here = this_machine(uname);
    if let Some(machine) = machine(head) {
        if machine != here {
            return format!("it is for {machine}, this device is {here}");
        }
        let (_, big) = elf(head).unwrap_or_default();
        return match number(head, 16, 2, big) {
            Some(1) => "it is an object file, which is not linked to a program yet",
            Some(4) => "it is a core dump",
            _ => "it is damaged or cut off: an ELF file that this system does not take",
        }
        .into();
    }
    let begins = |with: &[u8]| head.starts_with(with);
    let text = head.get(..LINE).unwrap_or(head);
    let is_text = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    match head {
        [] => "it is empty",
        _ if head.iter().all(|&byte| byte == 0) => {
            "it holds nothing but zeros: it was not written to its end, or its disk lost it"
        }
        _ if begins(b"\x7fELF") => "it is damaged or cut off: an ELF file without its head",
        _ if begins(b"\xef\xbb\xbf#!") => {
            "it begins with a byte order mark: save the script as UTF-8 without one"
        }
        _ if begins(b"\xff\xfe") || begins(b"\xfe\xff") => {
            "it is a text in UTF-16: save the script as UTF-8"
        }
        _ if begins(b"#!") && first_line(head).is_none() => "its first line is too long",
        _ if begins(b"#!") => "its first line names no interpreter",
        _ if begins(b"MZ") => "it is a program for Windows",
        _ if begins(b"\0asm") => "it is a WebAssembly module, which needs a program that runs it",
        _ if begins(b"\xcf\xfa\xed\xfe") || begins(b"\xce\xfa\xed\xfe") => {
            "it is a program for macOS"
        }
        _ if begins(b"PK\x03\x04")
            || begins(b"\x1f\x8b")
            || begins(b"\xfd7zXZ")
            || begins(b"\x28\xb5\x2f\xfd")
            || head.get(257..262) == Some(b"ustar") =>
        {
            "it is an archive or a compressed file: give the program that is in it"
        }
        _ if text.iter().all(is_text) => {
            "it is a text whose first line names no interpreter: begin a script with #!/bin/sh"
        }
        _ => "its format is none that this device can execute",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Builds an ELF header with this class, byte order, type and machine.
    fn elf_of(class: u8, order: u8, kind: u8, machine: u16) -> Vec<u8> {
        let mut head = b"\x7fELF".to_vec();
        head.extend([class, order, 1, 0]);
        head.resize(64, 0);
        let two =
            |number: u16| if order == 2 { number.to_be_bytes() } else { number.to_le_bytes() };
        head[16..18].copy_from_slice(&two(kind.into()));
        head[18..20].copy_from_slice(&two(machine));
        head
    }

    #[test]
    fn what_a_file_is_that_is_no_program_here() {
        let mut tar = vec![b'x'; 300];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, uname, said) in [
            (elf_of(2, 1, 2, 183), "x86_64", "it is for aarch64, this device is x86_64"),
            (elf_of(1, 1, 2, 40), "x86_64", "it is for arm (32 bit), this device is x86_64"),
            (elf_of(2, 1, 3, 62), "armv7l", "it is for x86_64, this device is arm (32 bit)"),
            (elf_of(1, 2, 2, 8), "mipsel", "it is for mips, this device is mipsel"),
            (elf_of(2, 1, 2, 243), "aarch64", "it is for riscv64"),
            (elf_of(2, 1, 2, 4242), "aarch64", "ELF machine 4242"),
            (elf_of(2, 1, 1, 62), "x86_64", "object file"),
            (elf_of(2, 1, 4, 62), "x86_64", "core dump"),
            (elf_of(2, 1, 2, 62), "x86_64", "damaged or cut off"),
            (elf_of(1, 1, 2, 3), "i686", "damaged or cut off"),
            (b"\x7fELF\x02".to_vec(), "x86_64", "damaged or cut off"),
            (Vec::new(), "x86_64", "it is empty"),
            (vec![0; 4096], "x86_64", "nothing but zeros"),
            (b"\xef\xbb\xbf#!/bin/sh\n".to_vec(), "x86_64", "byte order mark"),
            (b"\xff\xfe#\0!\0".to_vec(), "x86_64", "UTF-16"),
            (b"#!\necho\n".to_vec(), "x86_64", "names no interpreter"),
            (b"#! \t\n".to_vec(), "x86_64", "names no interpreter"),
            ([&b"#!/"[..], &[b'x'; 400]].concat(), "x86_64", "first line is too long"),
            (b"MZ\x90\0".to_vec(), "x86_64", "Windows"),
            (b"\0asm\x01\0\0\0".to_vec(), "x86_64", "WebAssembly"),
            (b"\xcf\xfa\xed\xfe".to_vec(), "x86_64", "macOS"),
            (b"\x1f\x8b\x08".to_vec(), "x86_64", "archive"),
            (b"PK\x03\x04".to_vec(), "x86_64", "archive"),
            (tar, "x86_64", "archive"),
            (b"echo hello\n".to_vec(), "x86_64", "begin a script with #!/bin/sh"),
            (b"\x01\x02\x03".to_vec(), "x86_64", "none that this device can execute"),
        ] {
            let why = format_fault(&head, uname.as_bytes());
            assert!(why.contains(said), "{said:?} is not said in: {why}");
        }
    }

    #[test]
    fn the_loader_is_found_in_either_class_and_byte_order_and_damage_is_none() {
        for (class, order) in [(2, 1), (2, 2), (1, 1), (1, 2)] {
            let (wide, big) = (class == 2, order == 2);
            let mut file = elf_of(class, order, 3, 62);
            let mut put = |at: usize, size: usize, number: u64| {
                let mut bytes = number.to_le_bytes()[..size].to_vec();
                if big {
                    bytes.reverse();
                }
                file.resize(file.len().max(at + size), 0);
                file[at..at + size].copy_from_slice(&bytes);
            };
            // The table lies behind what is read first, as some tools put it.
            let (table, each) = (5000, if wide { 56 } else { 32 });
            put(if wide { 32 } else { 28 }, if wide { 8 } else { 4 }, table);
            put(if wide { 54 } else { 42 }, 2, each);
            put(if wide { 56 } else { 44 }, 2, 2);
            let second = usize::try_from(table + each).unwrap();
            put(second, 4, 3);
            put(second + if wide { 8 } else { 4 }, if wide { 8 } else { 4 }, 6000);
            put(second + if wide { 32 } else { 16 }, if wide { 8 } else { 4 }, 15);
            put(6000, 0, 0);
            file.extend(b"/lib/ld-x.so.1\0and more");
            let read = |at: u64, length: usize| {
                let at = usize::try_from(at).unwrap_or(usize::MAX).min(file.len());
                file[at..at.saturating_add(length).min(file.len())].to_vec()
            };
            assert_eq!(loader(&file, &read).unwrap(), b"/lib/ld-x.so.1");
            for length in 0..64 {
                let _any = loader(&file[..length], &read);
            }
            assert_eq!(loader(&file, &|_, _| Vec::new()), None);
        }
    }

    #[test]
    fn each_cause_has_its_own_sentence() {
        let scratch = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8], mode: u32| {
            let path = scratch.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let arm = file(
            "arm",
            &elf_of(2, 1, 2, if cfg!(target_arch = "aarch64") { 62 } else { 183 }),
            0o755,
        );
        let on_arm = format!("#!{}\n", arm.display());
        let python = file("python", b"#!/usr/bin/python9 -u\nprint(1)\n", 0o755);
        let on_cr = format!("#!{}\n", file("cr", b"#!/bin/sh\r\n", 0o755).display());
        let nested = format!("#!{}\n", python.display());
        let dangling = scratch.path().join("dangling");
        symlink("/no/such/target", &dangling).unwrap();
        let circle = scratch.path().join("circle");
        symlink("circle", &circle).unwrap();
        let cases = [
            (scratch.path().join("none"), Errno::NOENT, "there is no such file"),
            (scratch.path().join("arm/none"), Errno::NOTDIR, "no folder"),
            (dangling, Errno::NOENT, "link to /no/such/target, which is not there"),
            (circle, Errno::LOOP, "circle of links"),
            (scratch.path().to_owned(), Errno::ACCESS, "it is a folder"),
            ("/dev/null".into(), Errno::ACCESS, "no regular file"),
            (
                file("plain", b"#!/bin/sh\n", 0o644),
                Errno::ACCESS,
                "no execute permission (mode 0644)",
            ),
            (python.clone(), Errno::NOENT, "its interpreter /usr/bin/python9 is not there"),
            (file("on-arm", on_arm.as_bytes(), 0o755), Errno::NOEXEC, "arm: it is for "),
            (file("nested", nested.as_bytes(), 0o755), Errno::NOENT, "python9 is not there"),
            (file("on-cr", on_cr.as_bytes(), 0o755), Errno::NOENT, "cr: its first line ends with"),
            (arm, Errno::NOEXEC, "it is for "),
            (file("text", b"echo hi\n", 0o755), Errno::NOEXEC, "begin a script with"),
            (file("policy", b"\x7fELF", 0o755), Errno::ACCESS, "this system forbids it"),
            (file("busy", b"#!/bin/sh\n", 0o755), Errno::TXTBSY, "open for writing"),
            (file("big", b"#!/bin/sh\n", 0o755), Errno::TOOBIG, "arguments and variables"),
        ];
        for (path, errno, said) in cases {
            let why = why_not(&path, &io::Error::from(errno));
            let begins = format!("{} cannot be executed: ", path.display());
            assert!(why.starts_with(&begins) && why.contains(said), "{said:?}: {why}");
        }
    }

    #[test]
    fn a_carriage_return_in_the_first_line_is_seen_and_elsewhere_is_nobodys_business() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("script");
        for (content, is_spoilt) in [
            (&b"#!/bin/sh\r\necho hi\r\n"[..], true),
            (b"#!/bin/sh -e\r\n", true),
            (b"#!/usr/bin/env python3\r\n", true),
            (b"#!/bin/sh\r", true),
            (b"#!/bin/sh\necho hi\r\n", false),
            (b"echo hi\r\n", false),
            (b"", false),
        ] {
            std::fs::write(&path, content).unwrap();
            let said = windows_line_ends(&path);
            assert_eq!(said.is_some(), is_spoilt, "{content:?}: {said:?}");
            assert!(said.is_none_or(|said| said.contains("carriage return")));
        }
        assert_eq!(windows_line_ends(Path::new("/no/such/file")), None);
    }
}

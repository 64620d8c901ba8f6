//! Makes a delta for a device: the smallest of the methods that fit its memory, applied once before
//! it is offered.

use std::io::{self, Write};

use holdfast_delta::apply::{BESIDE, memory_of_patch, memory_of_window};
use holdfast_delta::layout::{Layout, put};
use holdfast_delta::old::Old;
use holdfast_delta::patch::{Patch, SLOTS};
use holdfast_delta::sites;
use holdfast_delta::steps::{Step, steps as code_steps};
use holdfast_delta::tables::Tables;
use holdfast_delta::{DeltaError, Header, Limits, Method, apply};
use ring::digest::{SHA256, digest};
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, get_error_name};

use crate::align::steps;
use crate::coarse::{SORTED, align_any};
use crate::encoder::Encoder;
use crate::executable;

/// Largest file of a patch: offsets and moves have 31 bits.
const LARGEST: u64 = i32::MAX as u64;
/// Most bytes without a counterpart in a patch. Each takes a device about half a microsecond to
/// decode, on a small one five times that.
const MOST_FRESH: u64 = 32 << 20;
/// Share of the new file above which a patch is no good, so that other methods are tried as well.
const POOR: usize = 2;
/// Most targets of references that are learned: programs of 30 MB have half as many.
const MOST_TARGETS: u64 = 1 << 19;
/// Bytes of an old file for each target that room is made for.
const BYTES_OF_A_TARGET: u64 = 32;
/// Size up to which the strongest level of zstd is worth its time: about a minute.
const STRONG: usize = 64 << 20;
/// Largest window of the whole, as a logarithm: more than 8 MiB gains little.
const LARGEST_WINDOW: u32 = 23;

/// Delta that was made and applied.
#[derive(Debug)]
pub struct Made {
    /// The delta.
    pub bytes: Vec<u8>,
    /// The method that gave the fewest bytes.
    pub method: Method,
}

/// Reason why no delta was made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// No method fits into the memory of the device.
    #[error("no method of the format applies within {0} bytes of memory")]
    NoMethod(u64),
    /// The delta that was made does not give the new file: a fault of this program.
    #[error("the delta that was made does not give the new file: {0}")]
    Wrong(#[source] DeltaError),
    /// Compression failed.
    #[error("compression failed: {0}")]
    Compression(&'static str),
}

/// Makes a delta that applies within so many bytes of memory. Without an old file it is the new one
/// compressed.
///
/// # Errors
/// When no method fits the memory, or the delta does not give the new file.
pub fn make(old: Option<&[u8]>, new: &[u8], memory: u64) -> Result<Made, MakeError> {
    let mut candidates = Vec::new();
    if let Some(old) = old {
        candidates.extend(patch(old, new, memory)?);
    }
    let is_good = |it: &Vec<u8>| it.len() <= new.len() / POOR;
    if !candidates.first().is_some_and(is_good) {
        candidates.extend(whole(new, memory)?);
        if let Some(old) = old {
            candidates.extend(prefix(old, new, memory)?);
        }
    }
    let smallest = candidates.into_iter().min_by_key(Vec::len);
    let bytes = smallest.ok_or(MakeError::NoMethod(memory))?;
    let method = check(&bytes, old.unwrap_or_default(), new, memory)?;
    Ok(Made { bytes, method })
}

/// Applies a delta that was made.
fn check(delta: &[u8], old: &[u8], new: &[u8], memory: u64) -> Result<Method, MakeError> {
    struct Compared<'a>(&'a [u8]);
    impl Write for Compared<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (head, rest) = self.0.split_at_checked(bytes.len()).unwrap_or((self.0, &[]));
            self.0 = rest;
            let differs = || io::Error::other("other bytes than the new file has");
            if head == bytes { Ok(bytes.len()) } else { Err(differs()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let limits =
        Limits { memory, size: new.len() as u64, new: sha256(new), old: Some(sha256(old)) };
    let applied = apply(&mut &*delta, &old, &limits, &mut Compared(new));
    applied.map(|header| header.method).map_err(MakeError::Wrong)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    out
}

fn header(method: Method, memory: u64, old: Option<&[u8]>, new: &[u8]) -> Vec<u8> {
    let (old_size, new_size) = (old.map_or(0, <[u8]>::len) as u64, new.len() as u64);
    let (old, new) = (old.map_or([0; 32], sha256), sha256(new));
    Header { method, memory, old_size, new_size, old, new }.bytes()
}

/// Patch; `None` when the files are too large for one or no model fits the memory.
fn patch(old: &[u8], new: &[u8], memory: u64) -> Result<Option<Vec<u8>>, MakeError> {
    if old.len() as u64 > LARGEST || new.len() as u64 > LARGEST {
        return Ok(None);
    }
    let layout = executable::layout(old, new);
    let copies = if layout.ranges.is_empty() {
        align_any(old, new, SORTED)
    } else {
        // Without references more of the two files is the same.
        let back = executable::layout(new, old);
        let (blank_old, blank_new) = (blank(old, &layout)?, blank(new, &back)?);
        align_any(&blank_old, &blank_new, SORTED)
    };
    let Some(steps) = copies.and_then(|copies| steps(&copies, new.len())) else { return Ok(None) };
    if steps.iter().map(|step| u64::from(step.extra)).sum::<u64>() > MOST_FRESH {
        return Ok(None);
    }
    let targets = MOST_TARGETS.min(old.len() as u64 / BYTES_OF_A_TARGET);
    let targets = if layout.ranges.is_empty() { 0 } else { targets };
    let count = steps.len() as u64;
    // A smaller model before fewer targets: both cost bytes, the model fewer.
    let halves = (0..3).map(|halved| targets >> halved);
    let choices = halves.flat_map(|targets| SLOTS.rev().map(move |bits| (targets, bits)));
    let fits = |it: &(u64, u32)| memory_of_patch(count, it.0, it.1) <= memory;
    let enough = |bits: u32| new.len() as u64 >= 1 << (bits - 2);
    let mut choices = choices.filter(|it| enough(it.1) || it.1 == *SLOTS.start());
    let Some((targets, bits)) = choices.find(fits) else { return Ok(None) };
    let needed = memory_of_patch(count, targets, bits);
    let mut head = header(Method::Patch, needed, Some(old), new);
    put(&mut head, targets);
    put(&mut head, u64::from(bits));
    layout.write(&mut head);
    let written = encode(head, (old, new), &layout, &steps, (targets, bits));
    written.map(Some).map_err(MakeError::Wrong)
}

fn encode(
    head: Vec<u8>,
    (old, new): (&[u8], &[u8]),
    layout: &Layout,
    steps: &[Step],
    (targets, bits): (u64, u32),
) -> Result<Vec<u8>, DeltaError> {
    let mut encoder = Encoder::new(head, new);
    code_steps(&mut encoder, steps, (new.len() as u64, u64::MAX))?;
    let targets = usize::try_from(targets).unwrap_or(0);
    let reader = Old::new(&old, old.len() as u64);
    Patch::new(reader, layout, steps, (targets, bits))?.run(&mut encoder, steps)?;
    Ok(encoder.finish())
}

/// A copy of a file without what looks like references.
fn blank(file: &[u8], layout: &Layout) -> Result<Vec<u8>, MakeError> {
    /// Bytes that are looked at once.
    const PIECE: u64 = 4_096;
    let mut out = file.to_vec();
    let size = file.len() as u64;
    let mut old = Old::new(&file, size);
    let tables = Tables::find(&mut old, layout).map_err(MakeError::Wrong)?;
    let (mut found, mut at) = (Vec::new(), 0);
    while at < size {
        let to = size.min(at + PIECE);
        sites::find(&mut old, layout, &tables, (at, to, size), &mut found)
            .map_err(MakeError::Wrong)?;
        for site in &found {
            let start = usize::try_from(site.at).unwrap_or(usize::MAX);
            let keep = (!site.mask()).to_le_bytes().into_iter().chain([0; 4]);
            let field = out.iter_mut().skip(start).take(site.wide());
            field.zip(keep).for_each(|(byte, keep)| *byte &= keep);
        }
        at = found.last().map_or(to, |site| to.max(site.at + site.width()));
    }
    Ok(out)
}

/// The new file compressed.
fn whole(new: &[u8], memory: u64) -> Result<Option<Vec<u8>>, MakeError> {
    let room = memory.checked_sub(BESIDE).and_then(u64::checked_ilog2);
    let Some(log) = room.filter(|log| *log >= 10) else { return Ok(None) };
    let log = log.min(LARGEST_WINDOW);
    let head = header(Method::Whole, memory_of_window(log), None, new);
    compress(head, &[], new, log).map(Some)
}

/// The new file compressed with the old one as what went before.
fn prefix(old: &[u8], new: &[u8], memory: u64) -> Result<Option<Vec<u8>>, MakeError> {
    // The window has to reach back over all of both.
    let span = (old.len() as u64).saturating_add(new.len() as u64).max(1 << 10);
    let log = span.next_power_of_two().ilog2();
    let needed = (old.len() as u64).saturating_add(memory_of_window(log));
    if needed > memory || log > 27 || old.is_empty() {
        return Ok(None);
    }
    compress(header(Method::Prefix, needed, Some(old), new), old, new, log).map(Some)
}

fn compress(mut out: Vec<u8>, prefix: &[u8], new: &[u8], log: u32) -> Result<Vec<u8>, MakeError> {
    let failed = |code| MakeError::Compression(get_error_name(code));
    let level = if new.len() <= STRONG { 19 } else { 12 };
    let mut context = CCtx::create();
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(log),
        CParameter::EnableLongDistanceMatching(!prefix.is_empty()),
        CParameter::ContentSizeFlag(false),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(failed)?;
    }
    let mut input = InBuffer::around(new);
    let mut piece = vec![0; 128 * 1024];
    loop {
        let mut output = OutBuffer::around(piece.as_mut_slice());
        let end = zstd::zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_end;
        let left = context.compress_stream2(&mut output, &mut input, end).map_err(failed)?;
        out.extend_from_slice(output.as_slice());
        if left == 0 {
            return Ok(out);
        }
    }
}

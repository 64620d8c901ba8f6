//! Applies a delta: streams the result to a writer while it is hashed.

use std::io::{Read, Write};

use ring::digest::{Context, SHA256};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use crate::coder::{Coder, Decoder};
use crate::error::DeltaError;
use crate::header::{Header, Method};
use crate::layout::{Layout, get};
use crate::old::{Old, ReadAt};
use crate::patch::{OF_A_STEP, OF_A_TARGET, Patch, SLOTS, memory_of_model};
use crate::steps::steps;

/// Bytes of a piece that is written at once.
const PIECE: usize = 64 * 1024;
/// Bytes of memory beside windows and models: pieces, the old file's window, the decoder's state.
pub const BESIDE: u64 = 512 * 1024;

/// What the caller allows and wants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of memory.
    pub memory: u64,
    /// Size that the result must have.
    pub size: u64,
    /// SHA-256 that the result must have.
    pub new: [u8; 32],
    /// SHA-256 of the old file at hand; `None` without one.
    pub old: Option<[u8; 32]>,
}

/// Applies a delta. The result is worth something only when this returns `Ok`.
///
/// # Errors
/// When the delta is of another kind, needs more memory, is damaged, is for another base or result,
/// or reading or writing fails.
pub fn apply(
    delta: &mut dyn Read,
    old: &dyn ReadAt,
    limits: &Limits,
    new: &mut dyn Write,
) -> Result<Header, DeltaError> {
    let header = Header::read(delta)?;
    if header.new != limits.new || header.new_size != limits.size {
        return Err(DeltaError::Damaged("it is for another result"));
    }
    if header.method != Method::Whole && Some(header.old) != limits.old {
        return Err(DeltaError::Damaged("it is for another base"));
    }
    if header.memory > limits.memory {
        return Err(DeltaError::Memory { needed: header.memory, limit: limits.memory });
    }
    let mut made = Made { to: new, hash: Context::new(&SHA256), left: header.new_size };
    match header.method {
        Method::Whole => unpack(delta, &[], header.memory, &mut made)?,
        Method::Prefix => {
            let held = read_whole(old, &header)?;
            unpack(delta, &held, header.memory, &mut made)?;
        }
        Method::Patch => patched(delta, old, &header, &mut made)?,
    }
    made.end(&header)?;
    Ok(header)
}

/// Result so far.
struct Made<'a> {
    to: &'a mut dyn Write,
    hash: Context,
    left: u64,
}

impl Made<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), DeltaError> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or(DeltaError::Damaged("more comes than its header says"))?;
        self.hash.update(bytes);
        self.to.write_all(bytes).map_err(DeltaError::New)
    }

    fn end(self, header: &Header) -> Result<(), DeltaError> {
        let right = self.left == 0 && self.hash.finish().as_ref() == header.new;
        self.to.flush().map_err(DeltaError::New)?;
        if right { Ok(()) } else { Err(DeltaError::WrongResult) }
    }
}

/// Memory that [`Method::Patch`] needs for so many steps and targets and a model of `2^bits` chances.
pub fn memory_of_patch(steps: u64, targets: u64, bits: u32) -> u64 {
    memory_of_model(bits)
        + BESIDE
        + steps.saturating_mul(OF_A_STEP)
        + targets.saturating_mul(OF_A_TARGET)
}

/// Memory that zstd needs for a window of `2^log` bytes.
pub fn memory_of_window(log: u32) -> u64 {
    (1 << log.min(62)) + BESIDE
}

fn read_whole(old: &dyn ReadAt, header: &Header) -> Result<Vec<u8>, DeltaError> {
    // The header's memory was found to be allowed: what is read is bounded by it.
    if header.old_size > header.memory {
        return Err(DeltaError::Damaged("a base that is larger than its memory"));
    }
    let mut held = vec![0; usize::try_from(header.old_size).unwrap_or(0)];
    let mut done = 0;
    while let Some(rest) = held.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match old.read_at(done as u64, rest) {
            Ok(0) => return Err(DeltaError::Damaged("its base is shorter than it says")),
            Ok(read) => done = done.saturating_add(read),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DeltaError::Old(error)),
        }
    }
    Ok(held)
}

fn unpack(
    delta: &mut dyn Read,
    prefix: &[u8],
    memory: u64,
    made: &mut Made<'_>,
) -> Result<(), DeltaError> {
    let refused = |code| DeltaError::Delta(std::io::Error::other(get_error_name(code)));
    let window = memory.saturating_sub(BESIDE + prefix.len() as u64);
    let log = window.checked_ilog2().unwrap_or(0).clamp(10, 31);
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(log)).map_err(refused)?;
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(refused)?;
    }
    let (mut from, mut to) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let read = match delta.read(&mut from) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.map_err(DeltaError::Delta)?,
        };
        if read == 0 {
            // Whether all came is known by the number of bytes and their digest.
            return Ok(());
        }
        let mut input = InBuffer::around(from.get(..read).unwrap_or_default());
        loop {
            let mut output = OutBuffer::around(to.as_mut_slice());
            let left = context.decompress_stream(&mut output, &mut input).map_err(refused)?;
            let written = output.pos();
            made.take(to.get(..written).unwrap_or_default())?;
            if left == 0 {
                return Ok(());
            }
            if written < PIECE && input.pos >= read {
                break;
            }
        }
    }
}

struct Reading<'a, 'm, 'w> {
    bits: Decoder<&'a mut dyn Read>,
    made: &'m mut Made<'w>,
    held: Vec<u8>,
}

impl Coder for Reading<'_, '_, '_> {
    const FORESEES: bool = false;

    fn bit(&mut self, one: u16, _bit: bool) -> Result<bool, DeltaError> {
        self.bits.bit(one)
    }

    fn foresee(&mut self, _into: &mut [u8]) {}

    fn done(&mut self, bytes: &[u8]) -> Result<(), DeltaError> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE {
            self.made.take(&self.held)?;
            self.held.clear();
        }
        Ok(())
    }
}

fn patched(
    delta: &mut dyn Read,
    old: &dyn ReadAt,
    header: &Header,
    made: &mut Made<'_>,
) -> Result<(), DeltaError> {
    if header.new_size > u64::from(u32::MAX) || header.old_size > u64::from(u32::MAX) {
        return Err(DeltaError::Damaged("files that are too large for this method"));
    }
    let targets = get(delta, u64::from(u32::MAX))?;
    let bits = u32::try_from(get(delta, 255)?).unwrap_or(0);
    if !SLOTS.contains(&bits) {
        return Err(DeltaError::Damaged("its model is larger or smaller than any"));
    }
    let room = header.memory.checked_sub(memory_of_patch(0, targets, bits));
    let room = room.ok_or(DeltaError::Damaged("it needs more memory than its header says"))?;
    let layout = Layout::read(delta)?;
    let held = Vec::with_capacity(PIECE + 8 * 1024);
    let mut reading = Reading { bits: Decoder::new(delta)?, made, held };
    let steps = steps(&mut reading, &[], (header.new_size, room / OF_A_STEP))?;
    let old = Old::new(old, header.old_size);
    let targets = usize::try_from(targets).unwrap_or(0);
    Patch::new(old, &layout, &steps, (targets, bits))?.run(&mut reading, &steps)?;
    let rest = std::mem::take(&mut reading.held);
    reading.made.take(&rest)
}

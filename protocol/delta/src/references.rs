//! Where references lead in the new file: what was learned from those that were decoded already,
//! and the map of the regions that were copied.

use std::collections::BTreeMap;

use crate::layout::{Layout, address_of, offset_of};
use crate::sites::{Form, Site, extended, led_to, page_of, within};

/// Distance in bytes within which a neighbour's shift is believed.
const NEAR: u32 = 4_096;
/// Regions before a position that are looked at for one that holds it.
const LOOKED_AT: usize = 8;
/// Most guesses for a reference.
pub const GUESSES: usize = 4;

/// Region that is copied from the old file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region {
    /// First byte in the old file.
    pub old: u32,
    /// Bytes.
    pub length: u32,
    /// First byte in the new file.
    pub new: u32,
}

/// Where a guess comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Nothing is known.
    #[default]
    Nothing,
    /// The same target was met before.
    Same,
    /// A target nearby was met before.
    Near,
    /// The region that holds the target.
    Region,
    /// The distance of the old file.
    Distance,
    /// The last wrong guess was wrong by as much.
    Again,
}

/// Guesses for the target of a reference, the best first, without repetitions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guesses {
    /// Addresses in the new file.
    pub list: [(i64, Source); GUESSES],
    /// Number of them.
    pub count: usize,
    /// Which of the kinds said the same as the first: bits by kind.
    pub agreed: u32,
}

impl Guesses {
    fn add(&mut self, guess: Option<i64>, from: Source) {
        let Some(guess) = guess else { return };
        let held = self.list.iter().take(self.count).position(|it| it.0 == guess);
        match held {
            Some(0) => self.agreed |= 1 << (from as u32),
            Some(_) => {}
            None => {
                if let Some(place) = self.list.get_mut(self.count) {
                    *place = (guess, from);
                    self.count += 1;
                }
            }
        }
    }
}

/// What is known of where targets lead.
pub struct References<'a> {
    layout: &'a Layout,
    regions: Vec<Region>,
    learned: BTreeMap<u32, u32>,
    most: usize,
    /// Page in each register of aarch64, with the old page that it stands for.
    pages: [(i64, i64); 32],
    /// By how much the last wrong guess was wrong.
    wrong_by: i64,
}

impl<'a> References<'a> {
    /// Nothing is learned yet; at most `most` targets will be. `regions` in any order.
    pub fn new(layout: &'a Layout, mut regions: Vec<Region>, most: usize) -> Self {
        regions.sort_unstable();
        let pages = [(-1, 0); 32];
        Self { layout, regions, learned: BTreeMap::new(), most, pages, wrong_by: 0 }
    }

    fn by_region(&self, target: i64) -> Option<i64> {
        let offset = u32::try_from(offset_of(&self.layout.old, target)?).ok()?;
        let after = self.regions.partition_point(|region| region.old <= offset);
        let before = self.regions.get(..after)?.iter().rev().take(LOOKED_AT);
        let holding = before
            .clone()
            .filter(|region| offset - region.old < region.length)
            .max_by_key(|region| region.length);
        let region = holding.or_else(|| before.clone().next())?;
        let moved = i64::from(offset) - i64::from(region.old) + i64::from(region.new);
        address_of(&self.layout.new, moved)
    }

    fn key(target: i64) -> Option<u32> {
        u32::try_from(target).ok()
    }

    fn near(&self, target: i64) -> Option<i64> {
        let key = Self::key(target)?;
        let below = self.learned.range(..key).next_back();
        let above = || self.learned.range(key..).next();
        let (old, new) = below
            .filter(|(old, _)| key - **old < NEAR)
            .or_else(|| above().filter(|(old, _)| **old - key < NEAR))?;
        Some(i64::from(*new) + i64::from(key) - i64::from(*old))
    }

    /// The best guesses for where a target leads: the first of them is asked about first. Where the
    /// same target was met before, the others are not looked for yet.
    pub fn first(&self, site: &Site, places: (i64, i64)) -> Guesses {
        let mut guesses = Guesses::default();
        let same = Self::key(site.target).and_then(|key| self.learned.get(&key));
        if let Some(new) = same {
            guesses.add(Some(i64::from(*new)), Source::Same);
        } else {
            guesses.add(self.near(site.target), Source::Near);
            guesses.add(self.by_region(site.target), Source::Region);
            if guesses.count == 0 {
                guesses.add(Some(moved(site, places)), Source::Distance);
            }
        }
        guesses
    }

    /// Adds the other guesses, for a field at an address of the old file and one of the new file.
    pub fn others(&self, site: &Site, places: (i64, i64), guesses: &mut Guesses) {
        if guesses.list.first().is_some_and(|it| it.1 == Source::Same) {
            guesses.add(self.near(site.target), Source::Near);
        }
        let region = self.by_region(site.target);
        guesses.add(region, Source::Region);
        guesses.add(Some(moved(site, places)), Source::Distance);
        guesses.add(region.map(|region| region.wrapping_add(self.wrong_by)), Source::Again);
    }

    /// Learns where a target leads.
    pub fn learn(&mut self, target: i64, new: i64) {
        if let (Some(key), Some(new)) = (Self::key(target), Self::key(new))
            && (self.learned.len() < self.most || self.learned.contains_key(&key))
        {
            self.learned.insert(key, new);
        }
    }

    /// Takes note of a field whose first guess was wrong.
    pub fn was_wrong(&mut self, site: &Site, guesses: &Guesses, value: u32, base: i64) {
        let region = guesses.list.iter().take(guesses.count).find(|it| it.1 == Source::Region);
        if let Some(region) = region
            && let Some(is) = led_to(site.form, value, base)
        {
            self.wrong_by = is.wrapping_sub(region.0);
        }
    }

    /// Base that a field is relative to, in the new file.
    pub fn base(&self, site: &Site, new_address: i64) -> i64 {
        match site.form {
            Form::AfterField => new_address + 4,
            Form::FromBase => site.base,
            Form::FromTable => {
                let learned = Self::key(site.base).and_then(|key| self.learned.get(&key));
                let learned = learned.map(|new| i64::from(*new));
                learned.or_else(|| self.by_region(site.base)).unwrap_or(site.base)
            }
            Form::Address => 0,
            _ => new_address,
        }
    }

    /// Takes note of the page that an instruction of aarch64 put into a register.
    pub fn page(&mut self, site: &Site, page: i64) {
        if let Some(held) = self.pages.get_mut(usize::from(site.register)) {
            *held = (site.target & !0xfff, page);
        }
    }

    /// Page of the new file for a field within a page.
    pub fn held(&self, site: &Site) -> Option<i64> {
        let held = self.pages.get(usize::from(site.register))?;
        (held.0 == site.target & !0xfff).then_some(held.1)
    }
}

/// Target at the distance of the old file, for a field at an address of the old file and one of
/// the new file.
fn moved(site: &Site, (old, new): (i64, i64)) -> i64 {
    match site.form {
        Form::Address | Form::FromBase | Form::FromTable => site.target,
        _ => site.target.wrapping_add(new - old),
    }
}

/// Value of a field for a target: what stands in its bits.
pub fn value(site: &Site, target: i64, base: i64) -> i64 {
    match site.form {
        Form::Branch => target.wrapping_sub(base) >> 2,
        Form::Page => (target & !0xfff).wrapping_sub(base & !0xfff) >> 12,
        Form::Within => (target & 0xfff) >> site.shift,
        _ => target.wrapping_sub(base),
    }
}

/// Target that a field of the new file refers to. `None` for what cannot be told.
pub fn target(site: &Site, word: u32, base: i64, held: Option<i64>) -> Option<i64> {
    match site.form {
        Form::Branch => {
            (word & 0x7c00_0000 == 0x1400_0000).then(|| base + 4 * extended(word & 0x03ff_ffff, 26))
        }
        Form::Page => (word & 0x9f00_0000 == 0x9000_0000).then(|| page_of(word, base)),
        Form::Within => {
            let held = held?;
            let (_, shift, offset) = within(word)?;
            (shift == site.shift).then_some(held + offset)
        }
        Form::Address => None,
        _ => Some(base + extended(word, 32)),
    }
}

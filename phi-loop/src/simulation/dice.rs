//! A small generator of numbers: the same seed gives the same world.

/// Seeded dice: the same seed rolls the same numbers.
///
/// Every choice is made so that 0 is the simplest one. Dice that have only so many rolls left roll 0
/// from then on, and single rolls may be 0 too, which is how a scenario is made simpler without
/// changing its rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dice {
    state: u64,
    left: u32,
    rolled: u32,
    /// The rolls that are 0, a bit for each of the first 64.
    zeros: u64,
}

impl Dice {
    /// Makes dice that never run out.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: seed,
            left: u32::MAX,
            rolled: 0,
            zeros: 0,
        }
    }

    /// Makes dice that always roll 0.
    #[must_use]
    pub fn plain() -> Self {
        Self::new(0).with_rolls(0)
    }

    /// Makes the same dice with at most so many rolls.
    #[must_use]
    pub fn with_rolls(&self, left: u32) -> Self {
        Self {
            left: self.left.min(left),
            ..*self
        }
    }

    /// Makes the same dice with a roll that is 0; `None` if it is 0 already, or too far away.
    #[must_use]
    pub fn with_zero(&self, roll: u32) -> Option<Self> {
        let zeros = self.zeros | 1_u64.checked_shl(roll)?;
        (zeros != self.zeros).then_some(Self { zeros, ..*self })
    }

    /// Returns how many rolls are left; `u32::MAX` for dice that never run out.
    #[must_use]
    pub fn rolls_left(&self) -> u32 {
        self.left
    }

    /// Rolls a number below `sides`; 0 where that is 0 or 1.
    pub fn roll(&mut self, sides: u64) -> u64 {
        if self.left == 0 {
            return 0;
        }
        if self.left < u32::MAX {
            self.left -= 1;
        }
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let is_zero = 1_u64
            .checked_shl(self.rolled)
            .is_some_and(|bit| self.zeros & bit != 0);
        self.rolled = self.rolled.saturating_add(1);
        if is_zero {
            return 0;
        }
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }

    /// Says yes once in so many times, at least two; never, once the dice have run out.
    pub fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) + 1 == sides.max(2)
    }

    /// Rolls a place in a list of this length; 0 for an empty one.
    pub fn place(&mut self, len: usize) -> usize {
        let sides = u64::try_from(len).unwrap_or(u64::MAX);
        usize::try_from(self.roll(sides)).unwrap_or(0)
    }

    /// Picks one; `None` from nothing.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.place(from.len()))
    }

    /// Makes dice for something of its own, so that it can change without changing the rest.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self {
            state: self.roll(u64::MAX),
            left: self.left,
            rolled: 0,
            zeros: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_that_is_zero_leaves_the_others_as_they_were() {
        let mut dice = Dice::new(7).with_zero(1).unwrap();
        assert_eq!(dice.with_zero(1), None);
        let mut same = Dice::new(7);
        let rolls = |dice: &mut Dice| [dice.roll(1_000), dice.roll(1_000), dice.roll(1_000)];
        let ([a, zero, c], [first, second, third]) = (rolls(&mut dice), rolls(&mut same));
        assert_eq!((a, zero, c), (first, 0, third));
        assert_ne!(second, 0);
    }

    #[test]
    fn dice_that_ran_out_roll_the_simplest() {
        let mut dice = Dice::new(7).with_rolls(2);
        let mut same = Dice::new(7);
        assert_eq!(dice.roll(1_000), same.roll(1_000));
        assert_eq!(dice.roll(1_000), same.roll(1_000));
        assert_eq!(
            (dice.roll(1_000), dice.one_in(2), dice.one_in(1)),
            (0, false, false)
        );
    }
}

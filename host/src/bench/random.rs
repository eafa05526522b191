//! Who trades with whom: a seeded source of numbers and the zipf distribution, both of whole numbers only.

/// A small generator with a seed (SplitMix64): the same seed makes the same workload again. Not for secrets.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The generator of this seed and stream: each client has a stream of its own.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let mut random = Random(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.next();
        random
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below this one, which is not zero. The bias of the remainder is far below what a measurement shows.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A place in a list of this length, which is not empty.
    pub(super) fn place(&mut self, length: usize) -> usize {
        let bound = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or(0)
    }
}

/// Zipf's distribution with exponent 1: the k-th of n is drawn with a weight of 1/k.
#[derive(Debug, Clone)]
pub(super) struct Zipf {
    /// Sums of the weights up to each rank.
    sums: Vec<u64>,
}

/// The first rank's weight; large enough that the last of a million still has 20 bits.
const WEIGHT: u64 = 1 << 40;

impl Zipf {
    /// Over so many ranks, at least one.
    pub(super) fn over(ranks: usize) -> Zipf {
        let mut sum = 0_u64;
        let sums = (1..=u64::try_from(ranks.max(1)).unwrap_or(1)).map(|rank| {
            sum += WEIGHT / rank;
            sum
        });
        Zipf { sums: sums.collect() }
    }

    /// A rank from 0: 0 is the most frequent.
    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let total = self.sums.last().copied().unwrap_or(1);
        let at = random.below(total);
        self.sums.partition_point(|sum| *sum <= at)
    }

    /// Two different ranks; of a single rank, the same twice.
    pub(super) fn pair(&self, random: &mut Random) -> (usize, usize) {
        let first = self.draw(random);
        let second = self.draw(random);
        match first == second {
            true => (first, (first + 1) % self.sums.len()),
            false => (first, second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_another_stream_does_not() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.next(), random.next()]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn the_first_rank_is_drawn_about_twice_as_often_as_the_second() {
        let (zipf, mut random) = (Zipf::over(100_000), Random::new(7, 0));
        let mut counts = vec![0_u32; 100_000];
        for _ in 0..200_000 {
            counts[zipf.draw(&mut random)] += 1;
        }
        // 1/12.09 of 200,000 for the first, half of it for the second.
        assert!((15_900..17_200).contains(&counts[0]), "{}", counts[0]);
        assert!((7_800..8_800).contains(&counts[1]), "{}", counts[1]);
        assert!(counts[50_000..].iter().sum::<u32>() > 10_000, "the long tail is drawn, too");
    }

    #[test]
    fn nobody_trades_with_himself() {
        let (zipf, mut random) = (Zipf::over(2), Random::new(7, 0));
        assert!((0..1_000).map(|_| zipf.pair(&mut random)).all(|(first, second)| first != second));
        assert_eq!(Zipf::over(1).pair(&mut random), (0, 0));
    }
}

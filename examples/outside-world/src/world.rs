//! What all parts of the world share: the book, the switches, the way to Koban and the errands on their way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;

use crate::Config;
use crate::bank::Bank;
use crate::batches::Taken;
use crate::bills::Bills;
use crate::book::Book;
use crate::budget::Budget;
use crate::koban::KobanBase;
use crate::signing::Signer;
use crate::switches::Switches;

/// So many errands may be on their way at the same time.
const ERRANDS_MAX: usize = 4_096;

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) signer: Signer,
    koban: Mutex<KobanBase>,
    book: Mutex<Book>,
    bills: Mutex<Bills>,
    bank: Mutex<Bank>,
    budget: Mutex<Budget>,
    taken_files: Mutex<Taken>,
    /// Where the account numbers of this bank begin.
    first_account: u32,
    switches: Mutex<Switches>,
    errands: Mutex<JoinSet<()>>,
}

impl World {
    pub(crate) fn new(config: Config, signer: Signer, koban: KobanBase, atm_id: &str) -> World {
        let book = Book::new(atm_id, config.fee);
        World {
            config,
            signer,
            koban: Mutex::new(koban),
            book: Mutex::new(book),
            bills: Mutex::new(Bills::new(&format!("C{atm_id}"))),
            bank: Mutex::new(Bank::new(&format!("B{atm_id}"))),
            budget: Mutex::default(),
            taken_files: Mutex::default(),
            first_account: random_name(8)
                .bytes()
                .fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into())),
            switches: Mutex::default(),
            errands: Mutex::default(),
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.config.clock.now_ms()
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        whole(&self.book)
    }

    pub(crate) fn bills(&self) -> MutexGuard<'_, Bills> {
        whole(&self.bills)
    }

    pub(crate) fn bank(&self) -> MutexGuard<'_, Bank> {
        whole(&self.bank)
    }

    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        whole(&self.budget)
    }

    pub(crate) fn taken_files(&self) -> MutexGuard<'_, Taken> {
        whole(&self.taken_files)
    }

    pub(crate) fn first_account(&self) -> u32 {
        self.first_account
    }

    pub(crate) fn switches(&self) -> MutexGuard<'_, Switches> {
        whole(&self.switches)
    }

    pub(crate) fn koban(&self) -> KobanBase {
        whole(&self.koban).clone()
    }

    pub(crate) fn move_koban(&self, koban: KobanBase) {
        *whole(&self.koban) = koban;
    }

    /// Runs an errand to its end, whoever is waiting for it. `false`: too many are on their way already.
    pub(crate) fn errand(&self, errand: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut errands = whole(&self.errands);
        while errands.try_join_next().is_some() {}
        let room = errands.len() < ERRANDS_MAX;
        if room {
            errands.spawn(errand);
        }
        room
    }

    /// How many errands have not come to their end.
    pub(crate) fn errands(&self) -> usize {
        let mut errands = whole(&self.errands);
        while errands.try_join_next().is_some() {}
        errands.len()
    }

    pub(crate) fn drop_tasks(&self) {
        whole(&self.errands).abort_all();
    }
}

/// Every change below is made in one go, so a value is whole even if a holder of its lock panicked.
fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name that nobody else has: so many random bytes in hexadecimal digits.
pub(crate) fn random_name(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    #[expect(clippy::disallowed_methods, reason = "the one edge where this program asks for randomness")]
    getrandom::fill(&mut random).expect("the operating system has randomness");
    hex::encode(random)
}

//! A guest's memory: handed out from front to back, because an instance lives for one call.
//!
//! The standard library's allocator asks the host for another page before it hands out its first byte, and leaves what the memory
//! began with unused. Growing and shrinking a memory are two calls into the host's kernel that stop its other processors for a
//! moment; beside other work they cost more than judging a payment does. So the memory that is there from the start
//! (`--initial-memory`) is used first, and taking it is one addition. What does not fit goes the usual way.

/// Where so many bytes begin and end from `at` on, if they end before `end`.
#[cfg(any(target_arch = "wasm32", test))]
fn place(at: usize, end: usize, size: usize, align: usize) -> Option<(usize, usize)> {
    let start = at.checked_next_multiple_of(align)?;
    let after = start.checked_add(size)?;
    (after <= end).then_some((start, after))
}

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "an allocator cannot be written without; it has no threads to share with")]
mod guest {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::ptr;

    use super::place;

    #[global_allocator]
    static ONWARD: Onward = Onward { at: Cell::new(0), end: Cell::new(0) };

    /// The part of the memory that is left from the start, and the standard library's allocator behind it.
    struct Onward {
        at: Cell<usize>,
        end: Cell<usize>,
    }

    // SAFETY: guests have one thread; the host refuses components with shared memory.
    unsafe impl Sync for Onward {}

    unsafe extern "C" {
        /// The linker's mark: the first byte behind stack and data.
        static __heap_base: u8;
    }

    impl Onward {
        /// Whether this was handed out here.
        fn is_mine(&self, place: *mut u8) -> bool {
            place.addr() < self.end.get()
        }

        fn is_last(&self, place: *mut u8, size: usize) -> bool {
            place.addr() + size == self.at.get()
        }
    }

    // SAFETY: what is handed out lies behind the data and before the end of the memory, never twice at a time, aligned by `place`;
    // everything else is the standard library's.
    unsafe impl GlobalAlloc for Onward {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if self.end.get() == 0 {
                self.at.set((&raw const __heap_base).addr());
                // Asked for before anything can have grown it.
                self.end.set(core::arch::wasm32::memory_size(0) * (64 << 10));
            }
            match place(self.at.get(), self.end.get(), layout.size(), layout.align()) {
                Some((start, after)) => {
                    self.at.set(after);
                    ptr::with_exposed_provenance_mut(start)
                }
                None => unsafe { System.alloc(layout) },
            }
        }

        unsafe fn dealloc(&self, given: *mut u8, layout: Layout) {
            if !self.is_mine(given) {
                unsafe { System.dealloc(given, layout) }
            } else if self.is_last(given, layout.size()) {
                self.at.set(given.addr());
            }
        }

        unsafe fn realloc(&self, given: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            if !self.is_mine(given) {
                return unsafe { System.realloc(given, layout, size) };
            }
            if size <= layout.size() {
                return given;
            }
            if self.is_last(given, layout.size())
                && let Some((_, after)) = place(given.addr(), self.end.get(), size, 1)
            {
                self.at.set(after);
                return given;
            }
            unsafe {
                let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(given, moved, layout.size());
                }
                moved
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn bytes_are_placed_in_order_aligned_and_never_behind_the_end() {
        assert_eq!(place(17, 100, 8, 8), Some((24, 32)));
        assert_eq!(place(32, 100, 68, 4), Some((32, 100)));
        assert_eq!(place(33, 100, 68, 1), None);
        assert_eq!(place(96, 100, 1, 16), Some((96, 97)));
        assert_eq!(place(97, 100, 1, 16), None);
        assert_eq!(place(24, usize::MAX, usize::MAX, 1), None);
        assert_eq!(place(usize::MAX - 1, usize::MAX, 1, 16), None);
    }
}

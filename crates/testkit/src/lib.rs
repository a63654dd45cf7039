//! Test tools of Buswire: virtual clock, seeded randomness, faulty links and stores.

//! Majordomo (MDP): codec, broker core, ZeroMQ driver, client and worker.

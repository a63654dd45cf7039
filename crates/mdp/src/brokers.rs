//! Where the brokers of a client or worker are.
//!
//! Never in here: a socket, a look-up of names.

/// A host and a port, or endpoints as libzmq writes them.
#[derive(Clone, Debug)]
pub(crate) struct Brokers {
    host: String,
    port: u16,
    endpoints: Vec<String>,
}

impl Default for Brokers {
    /// The address at which Backbone's broker listens (mdp.md §9.3).
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 5555, endpoints: Vec::new() }
    }
}

impl Brokers {
    pub(crate) fn set_host(&mut self, host: String) {
        self.host = host;
    }

    pub(crate) fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    pub(crate) fn set_endpoints(&mut self, endpoints: Vec<String>) {
        self.endpoints = endpoints;
    }

    /// Returns at least one endpoint: those given, else the one of host and port.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        if self.endpoints.is_empty() {
            vec![tcp_endpoint(&self.host, self.port)]
        } else {
            self.endpoints.clone()
        }
    }
}

/// Returns `tcp://HOST:PORT`, with an IPv6 address in the brackets that libzmq wants.
pub fn tcp_endpoint(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("tcp://[{host}]:{port}")
    } else {
        format!("tcp://{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_come_from_host_and_port_or_are_given() {
        // Rule: mdp §9.3 — the default endpoint is tcp://127.0.0.1:5555
        let mut it = Brokers::default();
        assert_eq!(it.endpoints(), ["tcp://127.0.0.1:5555"]);
        it.set_host("::1".to_owned());
        it.set_port(1);
        assert_eq!(it.endpoints(), ["tcp://[::1]:1"]);
        it.set_endpoints(vec!["ipc:///a".to_owned(), "tcp://b:2".to_owned()]);
        assert_eq!(it.endpoints(), ["ipc:///a", "tcp://b:2"]);
        assert_eq!(tcp_endpoint("[::1]", 3), "tcp://[::1]:3");
    }
}

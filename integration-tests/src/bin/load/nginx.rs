//! Debian's nginx with nchan, as a process of our own.
//!
//! Never here: what it is asked to do.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use buswire_integration_tests::until;
use tempfile::TempDir;

const NGINX: &str = "/usr/sbin/nginx";
const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Whether there is one on this machine.
pub(crate) fn is_installed() -> bool {
    [NGINX, NCHAN].iter().all(|file| Path::new(file).exists())
}

/// A running nginx; killed when dropped. It stores nothing durably.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) address: String,
    _folder: TempDir,
}

impl Nginx {
    /// Starts one with these locations.
    pub(crate) fn start(locations: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // nginx does not say which port it got: one that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let path = folder.path().display();
        let configuration = format!(
            "load_module {NCHAN};\ndaemon off;\nmaster_process off;\npid {path}/pid;\n\
             error_log {path}/error.log;\nworker_rlimit_nofile 300000;\n\
             events {{ worker_connections 300000; }}\n\
             http {{\n access_log off;\n keepalive_requests 100000000;\n\
             client_body_temp_path {path}/body;\n proxy_temp_path {path}/proxy;\n\
             fastcgi_temp_path {path}/fastcgi;\n uwsgi_temp_path {path}/uwsgi;\n\
             scgi_temp_path {path}/scgi;\n\
             server {{\n  listen {address} backlog=4096;\n{locations}\n }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new(NGINX).arg("-c").arg(&file).stderr(Stdio::null()).spawn().unwrap();
        until("nginx listens", || std::net::TcpStream::connect(&address).ok());
        Self { child, address, _folder: folder }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(|_| ()).unwrap_or_default();
    }
}

//! What packages are made of fits together: unit, user, configuration, files of the Debian package.
//! `packaging/check.sh` installs one; that takes minutes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    common::{output, stderr, stdout},
    pages::succeed,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn file(name: &str) -> String {
    fs::read_to_string(root().join("packaging").join(name)).unwrap()
}

/// The value of a key of the unit.
fn unit(key: &str) -> String {
    let unit = file("buswire.service");
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{key} in the unit")).to_owned()
}

#[test]
fn the_unit_is_good_and_hardened() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("buswire.service");
    let here = file("buswire.service").replace("/usr/bin/buswire", env!("CARGO_BIN_EXE_buswire"));
    fs::write(&copy, here).unwrap();
    // Without either ZeroMQ aborts at its first thread or socket.
    assert!(file("buswire.service").contains("\nSystemCallFilter=sched_setscheduler\n"));
    assert!(unit("RestrictAddressFamilies").contains("AF_NETLINK"));
    let analyze = || Command::new("systemd-analyze");
    succeed(analyze().args(["verify", "--man=no"]).arg(&copy));
    // Exposure of at most 2.0, of 10.
    succeed(analyze().args(["security", "--offline=true", "--threshold=20"]).arg(&copy));
}

#[test]
fn the_packaged_configuration_is_one_and_fits_the_unit() {
    let start = unit("ExecStart");
    assert_eq!(start, "/usr/bin/buswire serve --config /etc/buswire/buswire.toml");
    let packaged = file("buswire.toml");
    // Whoever takes the number sign away from a setting gets a setting.
    let is_setting = |line: &str| line.starts_with("# ") && line.contains(" = ");
    let uncommented: Vec<_> = packaged
        .lines()
        .map(|line| if is_setting(line) { line.trim_start_matches("# ") } else { line })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    for text in [packaged.clone(), uncommented.join("\n")] {
        let path = folder.path().join("buswire.toml");
        fs::write(&path, &text).unwrap();
        let checked = output(&["check-config", "--config", path.to_str().unwrap()]);
        assert_eq!(checked.status.code(), Some(0), "{text}: {}", stderr(&checked));
        let data_dir = format!("data_dir = \"/var/lib/{}\"", unit("StateDirectory"));
        assert!(stdout(&checked).contains(&data_dir), "{}", stdout(&checked));
    }
    let user = unit("User");
    assert!(file("buswire.sysusers").contains(&format!("u {user} - ")));
    assert!(
        file("buswire.tmpfile").contains(&format!("z /etc/buswire/buswire.toml 0640 root {user}"))
    );
}

#[test]
fn the_files_of_the_debian_package_are_there() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(manifest.join("Cargo.toml")).unwrap();
    let manifest_of_deb: toml::Table = text.parse().unwrap();
    let deb = &manifest_of_deb["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().unwrap();
    let mut places = Vec::new();
    for asset in assets {
        let (source, place) = (asset[0].as_str().unwrap(), asset[1].as_str().unwrap());
        places.push(place);
        let is_made = source == "target/release/buswire" || source.contains("/generated/");
        let source = source.trim_end_matches("*.md");
        assert!(is_made || manifest.join(source).exists(), "{source}");
    }
    for place in ["usr/bin/", "etc/buswire/", "usr/share/man/man1/"] {
        assert!(places.contains(&place), "{place} in {places:?}");
    }
    for key in ["license-file", "changelog", "maintainer-scripts"] {
        let path = deb[key].as_str().or_else(|| deb[key][0].as_str()).unwrap();
        assert!(manifest.join(path).exists(), "{key}: {path}");
    }
    // What deb.sh makes is what is packaged.
    let script = file("deb.sh");
    for made in
        ["man --to \"$generated/man1\"", "for shell in bash zsh fish", "packaging/generated"]
    {
        assert!(script.contains(made), "{made}");
    }
    for script in ["deb.sh", "check.sh", "debian/postrm"] {
        succeed(Command::new("sh").arg("-n").arg(root().join("packaging").join(script)));
    }
    let version = format!("buswire ({}-", env!("CARGO_PKG_VERSION"));
    assert!(file("debian/changelog").starts_with(&version), "a changelog of this version");
}

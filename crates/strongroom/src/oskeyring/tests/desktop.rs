//! GNOME's keyring on a bus of its own.

use std::collections::HashMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Child;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use secret_service::EncryptionType;
use secret_service::blocking::SecretService;

use super::Place;
use super::peer;
use super::started;
use strongroom_chain::oskeyring::SECRET_SERVICE;
use strongroom_chain::oskeyring::SERVICE;

const ADD: [&str; 4] = ["key", "add", "keyring", SECRET_SERVICE];
/// Above the five seconds that are promised: a busy machine starts programs slowly.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_desktops_keyring_opens_a_store() {
    let mut desktop = Desktop::start();
    let place = &desktop.place;
    place.run(&["set", "a/b", "-"], b"value-of-a-b").code(0);
    place
        .run(&ADD, b"")
        .code(0)
        .says("added key slot 2 (keyring)");
    let labels = desktop.labels();
    assert_eq!(labels.len(), 1, "{labels:?}");
    assert!(labels[0].starts_with("Strongroom: key slot 2 of store "));

    place.lose_key();
    place
        .run(&["get", "a/b"], b"")
        .code(0)
        .shows("value-of-a-b");

    desktop.lock();
    let before = Instant::now();
    place
        .run(&["get", "a/b"], b"")
        .code(7)
        .says("slot 2 (keyring): the keyring is locked: unlock it");
    assert!(before.elapsed() < SOON);

    place.find_key();
    place
        .run(&ADD, b"")
        .code(8)
        .says("the keyring is locked")
        .says("the slot was not added");
    let list = place.run(&["key", "list"], b"").code(0);
    assert!(!String::from_utf8_lossy(&list.0.stdout).contains("\n3 "));

    desktop.log_in_again();
    let place = &desktop.place;
    place.lose_key();
    place
        .run(&["get", "a/b"], b"")
        .code(0)
        .shows("value-of-a-b");
    place.find_key();
    place.run(&["--yes", "key", "remove", "2"], b"").code(0);
    assert_eq!(desktop.labels(), Vec::<String>::new());
    place.lose_key();
    place.run(&["get", "a/b"], b"").code(7);
}

#[test]
fn no_bus_is_said() {
    let mut place = Place::new();
    place.run(&["set", "a/b", "-"], b"value-of-a-b").code(0);
    place
        .run(&ADD, b"")
        .code(8)
        .says("there is no D-Bus session");
    let nowhere = format!("unix:path={}", place.path("nowhere").display());
    place.variables = vec![(ADDRESS, nowhere)];
    place
        .run(&ADD, b"")
        .code(8)
        .says("there is no D-Bus session");
}

#[test]
fn a_bus_without_a_keyring_is_said() {
    let mut place = Place::new();
    let _bus = Bus::start(&mut place);
    place.run(&["set", "a/b", "-"], b"value-of-a-b").code(0);
    place
        .run(&ADD, b"")
        .code(8)
        .says("no keyring runs in this D-Bus session");
}

#[test]
fn a_bus_that_never_answers_is_left() {
    let mut place = Place::new();
    let socket = place.path("socket");
    let _silent = UnixListener::bind(&socket).unwrap();
    place.variables = vec![(ADDRESS, format!("unix:path={}", socket.display()))];
    place.run(&["set", "a/b", "-"], b"value-of-a-b").code(0);
    let before = Instant::now();
    place
        .run(&ADD, b"")
        .code(8)
        .says("the keyring did not answer within 5 seconds");
    assert!(before.elapsed() < SOON);
}

const ADDRESS: &str = "DBUS_SESSION_BUS_ADDRESS";
const PASSWORD: &[u8] = b"of-the-login-keyring";

/// A session bus that starts no services by itself.
struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    /// Starts one for a place, in place of the one it had.
    fn start(place: &mut Place) -> Self {
        let config = place.path("bus.conf");
        let listen = format!("unix:dir={}", place.path("run").display());
        std::fs::write(&config, CONFIG.replace("[LISTEN]", &listen)).unwrap();
        let mut command = peer("dbus-daemon");
        place.settle(&mut command);
        command
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address=1"])
            .stdout(Stdio::piped());
        let mut daemon = started(command.spawn(), "dbus-daemon");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        let address = address.trim().to_owned();
        assert!(!address.is_empty(), "dbus-daemon gave no address");
        place.variables = vec![(ADDRESS, address.clone())];
        Self { daemon, address }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // The keyring's daemon ends with its bus.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A bus with a keyring, and nobody who would ask a person for a password.
struct Desktop {
    bus: Bus,
    place: Place,
}

impl Desktop {
    /// Starts it unlocked.
    fn start() -> Self {
        let mut place = Place::new();
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(place.path("run"), private).unwrap();
        let bus = Bus::start(&mut place);
        let this = Self { bus, place };
        this.start_keyring();
        this
    }

    /// A new bus and a new daemon, with the keyrings that are on disk.
    fn log_in_again(&mut self) {
        self.bus = Bus::start(&mut self.place);
        self.start_keyring();
    }

    /// Starts the daemon, which unlocks or makes the login keyring.
    fn start_keyring(&self) {
        let mut command = peer("gnome-keyring-daemon");
        self.place.settle(&mut command);
        command
            .args(["--unlock", "--components=secrets"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut starter = started(command.spawn(), "gnome-keyring-daemon");
        starter.stdin.take().unwrap().write_all(PASSWORD).unwrap();
        // It goes on in the background, and this ends when it is ready.
        assert!(starter.wait().unwrap().success());
    }

    fn lock(&self) {
        self.with_service(|service| {
            let login = service.get_default_collection().unwrap();
            login.lock().unwrap();
            assert!(login.is_locked().unwrap());
        });
    }

    /// Labels of our entries.
    fn labels(&self) -> Vec<String> {
        self.with_service(|service| {
            let ours = HashMap::from([("service", SERVICE)]);
            let found = service.search_items(ours).unwrap();
            let items = found.unlocked.iter();
            items.map(|item| item.get_label().unwrap()).collect()
        })
    }

    fn with_service<T>(&self, ask: impl FnOnce(&SecretService<'_>) -> T) -> T {
        let address = self.bus.address.as_str();
        let bus = zbus::blocking::connection::Builder::address(address).unwrap();
        let bus = bus.build().unwrap();
        ask(&SecretService::connect_with_existing(EncryptionType::Dh, bus).unwrap())
    }
}

const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC
 "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>[LISTEN]</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

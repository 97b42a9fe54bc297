//! Servers that cannot start, and what they say.

use strongroom_testkit::port::Port;
use strongroom_testkit::postgres::Postgres;

use crate::node::Home;

const PASSWORD: &str = "canary-in-the-address";

/// Exit code and what was said, of a server that does not come to serve.
fn refused(home: &Home, args: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = home.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.args(args);
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("canary"), "{said}");
    (output.status.code().unwrap(), said)
}

#[test]
fn a_database_that_is_down_or_refuses_is_named() {
    let home = Home::new();
    let port = Port::claim();
    let nobody = format!("postgres://u:{PASSWORD}@127.0.0.1:{}/s", port.number());
    let (code, said) = refused(&home, &["--storage", &nobody], &[]);
    assert_eq!(code, 8, "{said}");
    assert!(
        said.contains(&format!("127.0.0.1:{}", port.number())),
        "{said}"
    );
    // The password stood on the command line.
    assert!(said.contains("can see the password"), "{said}");
    let (_, said) = refused(&home, &[], &[("STRONGROOM_STORE", &nobody)]);
    assert!(!said.contains("can see the password"), "{said}");

    let server = Postgres::start();
    let sql =
        format!("CREATE USER app PASSWORD '{PASSWORD}'; GRANT CREATE ON SCHEMA public TO app");
    let _ = server.sql("postgres", &sql);
    let url = format!("postgres://app@127.0.0.1:{}/postgres", server.port());
    let (code, said) = refused(
        &home,
        &["--storage", &url],
        &[("PGPASSWORD", "wrong-canary")],
    );
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("password authentication failed"), "{said}");
    // A file of passwords that others may read is not used; one of ours is.
    let passfile = home.path("passwords");
    std::fs::write(&passfile, format!("127.0.0.1:*:postgres:app:{PASSWORD}\n")).unwrap();
    let named = passfile.display().to_string();
    let mode = |mode| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&passfile, permissions).unwrap();
    };
    mode(0o644);
    let (code, said) = refused(&home, &["--storage", &url], &[("PGPASSFILE", &named)]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("others can read"), "{said}");
    mode(0o600);
    let mut command = home.command(&["operator", "root-token", "--store", &url]);
    let output = command.env("PGPASSFILE", &named).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(3),
        "there is no store yet: {said}"
    );
}

#[test]
fn addresses_that_are_none_are_explained() {
    let home = Home::new();
    for (address, word) in [
        ("postgres://u@db.example/s?sslmode=require", "verify-full"),
        ("postgres://u:canary@db.example", "names no database"),
        ("postgres://u:canary@db.example:x/s", "of the form"),
        ("mysql://u:canary@db.example/s", "is one of store"),
    ] {
        let (code, said) = refused(&home, &["--storage", address], &[]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(word), "{address}: {said}");
    }
}

/// What works on a store file says so, and does not make one of that name.
#[test]
fn commands_for_a_file_do_not_take_an_address() {
    let home = Home::new();
    for args in [&["list"][..], &["get", "a"], &["doctor"], &["status"]] {
        let mut command = home.command(args);
        let output = command
            .env("STRONGROOM_STORE", "postgres://u:canary@127.0.0.1/s")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?} {said}");
        assert!(
            said.contains("a database is named in its place"),
            "{args:?} {said}"
        );
        assert!(!said.contains("canary"), "{said}");
    }
    assert!(!home.path("postgres:").exists());
}

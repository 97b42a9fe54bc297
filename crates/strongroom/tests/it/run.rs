//! `run`: the command gets what it needs, and shows none of it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use data_encoding::BASE64;
use data_encoding::BASE64URL;
use data_encoding::HEXLOWER;
use data_encoding::HEXUPPER;

use crate::support::Case;
use crate::support::PROGRAM;
use crate::support::files_below;

/// A project with one secret of each delivery, in the store.
fn deliveries() -> (Case, [String; 3]) {
    let case = Case::with_manifest(
        "[secrets.TOKEN]\n\
         [secrets.CERT]\ntarget = { type = \"file\", name = \"cert.pem\", \
         env = \"CERT_PATH\", mode = \"0400\" }\n\
         [secrets.INPUT]\ntarget = { type = \"stdin\" }\n\
         [secrets.KEPT]\nrequired = false\ntarget = { type = \"none\" }\n",
    );
    let values = [
        case.canary("tok-"),
        format!("-----BEGIN X-----\n{}\n-----END X-----\n", case.canary("")),
        case.canary("in-"),
    ];
    case.set("TOKEN", &values[0]);
    case.set("CERT", &values[1]);
    case.set("INPUT", &values[2]);
    case.set("KEPT", case.canary("kept-"));
    (case, values)
}

#[test]
fn values_arrive_in_variables_files_and_on_standard_input() {
    let (case, [token, cert, input]) = deliveries();
    for file in ["token", "cert", "input"] {
        case.leave_open(&case.in_project(file));
    }
    case.run(&[
        "run",
        "--",
        "sh",
        "-c",
        "printf %s \"$TOKEN\" > token; cat \"$CERT_PATH\" > cert; cat > input; \
         ls -ld \"$CERT_PATH\" \"$(dirname \"$CERT_PATH\")\" > modes; \
         printf %s \"$CERT_PATH\" > path; env > variables",
    ])
    .ok()
    .says("injected 3 (profile development: store 3), redacting 3");
    case.leave_open(&case.in_project("variables"));
    assert_eq!(case.read("token"), token.as_bytes());
    assert_eq!(case.read("cert"), cert.as_bytes());
    assert_eq!(case.read("input"), input.as_bytes());
    let modes = String::from_utf8(case.read("modes")).unwrap();
    assert!(modes.contains("-r--------"), "{modes}");
    assert!(modes.contains("drwx------"), "{modes}");
    let variables = String::from_utf8(case.read("variables")).unwrap();
    assert!(!variables.contains("KEPT"), "{variables}");
    assert!(!variables.contains("CERT="), "{variables}");
    let path = String::from_utf8(case.read("path")).unwrap();
    assert!(path.ends_with("/cert.pem"), "{path}");
    assert!(!Path::new(&path).parent().unwrap().exists(), "{path}");
    assert!(files_below(&case.path("run")).is_empty());
    assert!(files_below(&case.path("tmp")).is_empty());
}

#[test]
fn files_are_removed_when_the_command_is_killed() {
    let (case, _) = deliveries();
    case.shell("strongroom run -- sh -c 'printf %s \"$CERT_PATH\" > path; kill -KILL $$'")
        .code(137);
    let path = String::from_utf8(case.read("path")).unwrap();
    assert!(path.ends_with("/cert.pem"), "{path}");
    assert!(!Path::new(&path).parent().unwrap().exists(), "{path}");
}

#[test]
fn all_forms_of_a_value_are_masked_on_both_streams() {
    let case = Case::with_manifest("[secrets.TOKEN]\n[secrets.LINES]\n");
    let token = format!("p@ss/w\"o+d\\{}", case.canary(""));
    let lines = format!("{}\n{}", case.canary("one"), case.canary("two"));
    case.set("TOKEN", &token);
    case.set("LINES", &lines);
    let percent = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    let bytes = token.as_bytes();
    let forms = [
        token.clone(),
        lines.clone(),
        BASE64.encode(bytes),
        BASE64.encode(format!("a:{token}").as_bytes()),
        BASE64.encode(format!("ab:{token}").as_bytes()),
        BASE64URL.encode(bytes),
        HEXLOWER.encode(bytes),
        HEXUPPER.encode(bytes),
        percent(&token),
        serde_json::to_string(&token).unwrap(),
        serde_json::to_string(&lines).unwrap(),
    ];
    case.write_open("forms", forms.join(" | "));
    let shown = case.sr("run -- sh -c").output();
    assert_eq!(shown.status.code(), Some(2), "sh -c without a script");
    let shown = case
        .run(&["run", "--", "sh", "-c", "cat forms; cat forms >&2"])
        .ok();
    for text in [shown.out(), shown.err()] {
        let masks =
            text.matches("[redacted:TOKEN]").count() + text.matches("[redacted:LINES]").count();
        assert!(masks >= forms.len(), "{text}");
        for form in &forms {
            assert!(!text.contains(form), "{form} in {text}");
        }
        assert!(!text.contains("p%40ss"), "{text}");
    }
}

#[test]
fn a_value_is_masked_however_it_is_cut_up() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    let token = case.canary("");
    case.set("TOKEN", &token);
    let shown = case
        .run(&[
            "run",
            "--",
            "sh",
            "-c",
            "printf '<'; printf '%s\\n' \"$TOKEN\" | fold -w1 | \
             while read -r c; do printf %s \"$c\"; done; printf '>'",
        ])
        .ok();
    assert_eq!(shown.out(), "<[redacted:TOKEN]>");
}

#[test]
fn without_redaction_the_output_is_as_it_is() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    let token = case.canary("");
    case.set("TOKEN", &token);
    let shown = case
        .run(&["run", "--no-redact", "--", "printenv", "TOKEN"])
        .reveals()
        .ok()
        .says("redacting nothing (--no-redact)");
    assert_eq!(shown.out(), format!("{token}\n"));
}

#[test]
fn only_the_named_secrets_are_given() {
    let case = Case::with_manifest("[secrets.ONE]\n[secrets.TWO]\n[secrets.MISSING]\n");
    case.set("ONE", case.canary(""));
    case.set("TWO", case.canary(""));
    let names = "env | cut -d= -f1 | grep -E '^(ONE|TWO|MISSING)$' | sort | tr '\\n' ' '";
    case.run(&["run", "--", "sh", "-c", names]).code(5);
    let only = case
        .run(&["run", "--only", "ONE", "--", "sh", "-c", names])
        .ok();
    assert_eq!(only.out(), "ONE ");
    let both = case
        .run(&["run", "--only", "TWO,ONE", "--", "sh", "-c", names])
        .ok();
    assert_eq!(both.out(), "ONE TWO ");
    case.sr("run --only ON -- true")
        .code(2)
        .says("did you mean ONE?");
}

#[test]
fn the_usual_variables_are_inherited_and_no_others() {
    let case = Case::with_manifest(
        "[profiles.development]\nchain = [\"store\"]\ninherit_env = [\"MY_APP_*\"]\n\
         [secrets.TOKEN]\n",
    );
    case.set("TOKEN", case.canary(""));
    let canary = case.canary("parent-");
    case.env("AWS_SECRET_ACCESS_KEY", &canary);
    case.env("MY_APP_COLOUR", "blue");
    case.env("LC_TIME", "C");
    let shown = case.sr("run -- env").ok();
    let names: Vec<String> = shown
        .out()
        .lines()
        .map(|line| line.split('=').next().unwrap().to_owned())
        .collect();
    for name in [
        "PATH",
        "HOME",
        "LC_TIME",
        "XDG_DATA_HOME",
        "MY_APP_COLOUR",
        "TOKEN",
    ] {
        assert!(
            names.iter().any(|known| known == name),
            "{name} is not in {names:?}"
        );
    }
    assert!(
        !names.iter().any(|name| name.starts_with("AWS_")),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| name.starts_with("STRONGROOM_")),
        "{names:?}"
    );
    case.sr("run --inherit-env -- env")
        .reveals()
        .ok()
        .prints(&canary);
}

#[test]
fn what_opens_the_store_does_not_reach_the_command() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    case.set("TOKEN", case.canary(""));
    let variables = case
        .sr("run -- env")
        .env("STRONGROOM_PASSPHRASE_FILE", "/nowhere")
        .env("STRONGROOM_PROFILE", "development")
        .ok()
        .out();
    assert!(!variables.contains("STRONGROOM_"), "{variables}");
}

#[test]
fn exit_codes_and_signals_are_those_of_the_command() {
    let case = Case::with_manifest("");
    for code in [0, 1, 2, 5, 42, 255] {
        case.run(&["run", "--", "sh", "-c", &format!("exit {code}")])
            .code(code);
    }
    for (signal, code) in [
        ("TERM", 143),
        ("KILL", 137),
        ("INT", 130),
        ("SEGV", 139),
        ("USR1", 138),
    ] {
        case.run(&["run", "--", "sh", "-c", &format!("kill -{signal} $$")])
            .code(code);
    }
    case.sr("run -- no-such-program-here")
        .code(127)
        .says("there is no program `no-such-program-here`");
    let plain = case.write("plain", "text");
    std::fs::set_permissions(&plain, PermissionsExt::from_mode(0o644)).unwrap();
    case.sr("run -- ./plain")
        .code(126)
        .says("no permission to execute it");
    case.sr("run").code(2);
    case.sr("run --").code(2);
}

#[test]
fn signals_reach_the_command() {
    let case = Case::with_manifest("");
    let script =
        "trap 'echo got it; kill $!; exit 9' TERM; tail -f /dev/null & kill -TERM $PPID; wait";
    case.run(&["run", "--", "sh", "-c", script])
        .code(9)
        .prints("got it");
}

#[test]
fn input_and_binary_output_pass_untouched() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    case.set("TOKEN", case.canary(""));
    let bytes: Vec<u8> = (0..1_000_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let shown = case.sr("run -- cat").stdin(&bytes).ok();
    assert!(shown.stdout == bytes, "the output differs from the input");
}

#[test]
fn nothing_secret_is_seen_of_the_parent() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    case.set("TOKEN", case.canary(""));
    let shown = case
        .run(&[
            "run",
            "--no-redact",
            "--",
            "sh",
            "-c",
            "cat /proc/$PPID/cmdline /proc/$PPID/environ; ls -l /proc/$PPID/fd; \
             tr '\\0' ' ' < /proc/$$/cmdline; echo; echo -'--'; ls -l /proc/$$/fd",
        ])
        .output();
    // The case's search does the rest. Whether the parent can be read depends on who runs this.
    let out = shown.out();
    let (_, own) = out.split_once("\n---\n").unwrap();
    assert!(
        !own.contains("store"),
        "the command inherits files of the store: {own}"
    );
}

#[test]
fn the_command_gets_the_original_core_limit() {
    let case = Case::with_manifest("");
    // The parent has it, too, while it starts the command.
    let shown = case
        .shell(
            "ulimit -S -c 1000; ulimit -c; strongroom run -- sh -c 'ulimit -c; i=0; \
             until grep -q \"core file size *0 \" /proc/$PPID/limits || [ $i -gt 1000 ]; \
             do i=$((i+1)); done; grep core /proc/$PPID/limits'",
        )
        .ok()
        .out();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], lines[1], "{shown}");
    let words: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(words[4], "0", "{shown}");
}

#[test]
fn a_crash_leaves_no_core() {
    let case = Case::with_manifest("[secrets.TOKEN]\n");
    case.set("TOKEN", case.canary(""));
    for (name, number) in [("SEGV", 11), ("ABRT", 6)] {
        // The first SIGSEGV ends in the handler that looks for stack overflows.
        let script = format!(
            "ulimit -c unlimited 2>/dev/null; exec strongroom run -- sh -c \
             'i=0; while [ $i -lt 1000000 ] && kill -{name} $PPID; do i=$((i+1)); done' 2>/dev/null"
        );
        let crashed = case.shell(&script).output();
        assert_eq!(crashed.status.signal(), Some(number), "{}", crashed.err());
        assert!(!crashed.status.core_dumped(), "{name}");
        let cores: Vec<_> = files_below(&case.path("project"))
            .into_iter()
            .filter(|path| path.file_name().unwrap().to_string_lossy().contains("core"))
            .collect();
        assert!(cores.is_empty(), "{cores:?}");
    }
}

/// As root one may look into every process, so then the test goes on as somebody else.
#[test]
fn no_other_process_of_the_user_can_look_into_the_parent() {
    const NOBODY: u32 = 65_534;
    let case = Case::with_manifest("");
    let probe = "head -c1 /proc/$PPID/environ && echo environ; \
                 head -c1 /proc/$PPID/mem && echo mem; \
                 readlink /proc/$PPID/exe && echo exe; \
                 if command -v strace >/dev/null; then \
                 strace -qq -e trace=none -p $PPID -o /dev/null; echo strace $?; fi; \
                 head -c1 /proc/$$/environ >/dev/null && echo own";
    let is_root = rustix::process::geteuid().is_root();
    let shown = if is_root {
        // The program may lie where nobody else can reach it.
        let public = tempfile::tempdir().unwrap();
        std::fs::set_permissions(public.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let program = public.path().join("strongroom");
        std::fs::copy(PROGRAM, &program).unwrap();
        std::os::unix::fs::chown(case.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
        for folder in ["home", "config", "data", "state", "run", "tmp", "project"] {
            std::os::unix::fs::chown(case.path(folder), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let id = NOBODY.to_string();
        case.command("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
            .arg(&program)
            .args(["run", "--", "sh", "-c", probe])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    } else {
        case.command(PROGRAM)
            .args(["run", "--", "sh", "-c", probe])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let out = String::from_utf8_lossy(&shown.stdout);
    let err = String::from_utf8_lossy(&shown.stderr);
    assert!(out.contains("own\n"), "{out}{err}");
    for word in ["environ", "mem", "exe", "strace 0"] {
        assert!(!out.contains(&format!("{word}\n")), "{word}: {out}{err}");
    }
}

#[test]
fn a_value_too_short_to_mask_is_said() {
    let case = Case::with_manifest("[secrets.PIN]\n[secrets.TOKEN]\n");
    case.set("PIN", "77");
    case.set("TOKEN", case.canary(""));
    case.sr("run -- true")
        .ok()
        .says("redacting 1; too short to redact: PIN");
}

#[test]
fn nothing_is_shown_when_things_go_wrong() {
    let case = Case::with_manifest(
        "[secrets.BINARY]\n[secrets.BAD]\ntype = \"url\"\n[secrets.LATE]\n[secrets.GOOD]\n",
    );
    let secret = case.canary("not a url ");
    let mut binary = case.canary("").into_bytes();
    binary.push(0);
    case.set("BINARY", &binary);
    case.set("BAD", &secret);
    case.set("GOOD", case.canary(""));
    case.env("RUST_BACKTRACE", "full");
    for line in [
        "run -- true",
        "check",
        "check --json",
        "check --format github",
        "export",
    ] {
        let failed = case.sr(line).code(5);
        let all = failed.out() + &failed.err();
        for name in ["BINARY", "BAD", "LATE"] {
            assert!(all.contains(name), "{line}: {name} is not in {all}");
        }
    }
}

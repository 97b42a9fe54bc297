//! `rotate` of generated secrets in the user's own store, and what it says of all others.

use serde_json::Value;

use crate::peers::Moto;
use crate::served::Served;
use crate::support::Case;

const MANIFEST: &str = r#"
[secrets.TOKEN]
class = "per_install_generated"
format = "[0-9a-f]{40}"
generator = { type = "hex", length = 40 }
[secrets.TYPED]
class = "user_prompt"
[secrets.BY_HAND]
class = "user_prompt"
rotation = { every = "180d", rotator = { type = "manual", checklist = ["make a key", "tell Ann"] } }
[secrets.SIGNING]
class = "infrastructure"
rotation = { every = "30d", rotator = { type = "signing-key", algorithm = "EdDSA" } }
[secrets.DATABASE_URL]
class = "infrastructure"
[secrets.DATABASE_URL.rotation]
every = "90d"
rotator = { type = "postgres", address = "postgres://app@127.0.0.1:1/db" }
"#;

fn report(case: &Case, line: &str) -> Value {
    serde_json::from_str(&case.sr(line).ok().out()).unwrap()
}

#[test]
fn a_generated_secret_gets_a_new_value() {
    let case = Case::with_manifest(MANIFEST);
    let old = "00aa".repeat(10);
    case.watch(old.as_bytes());
    case.set("TOKEN", &old);
    let done = report(&case, "rotate TOKEN --json");
    assert_eq!(done["secret_version"], 2, "{done}");
    let new = case.get("TOKEN");
    assert_ne!(new, old.as_bytes());
    assert_eq!(new.len(), 40);
    assert!(new.iter().all(u8::is_ascii_hexdigit));
    let history = report(&case, "history TOKEN --json");
    assert_eq!(
        history["versions"][0]["stages"][0], "AWSPREVIOUS",
        "{history}"
    );
    let status = report(&case, "rotate status TOKEN --json");
    let row = &status["rotations"][0];
    assert_eq!(
        (&row["finished"], &row["step"]),
        (&1.into(), &Value::Null),
        "{status}"
    );
    case.sr("rotate TOKEN").ok();
    assert_ne!(case.get("TOKEN"), new);
    case.sr("rotate status").ok().prints("TOKEN");
    case.sr("doctor").ok();
}

#[test]
fn what_only_a_person_knows_is_not_rotated() {
    let case = Case::with_manifest(MANIFEST);
    let value = case.canary("typed");
    case.set("TYPED", &value);
    case.sr("rotate TYPED").code(5).says("strongroom set TYPED");
    assert_eq!(case.get("TYPED"), value.as_bytes());
    case.sr("rotate TOKEN").code(3);
    case.sr("rotate status TYPED")
        .code(3)
        .says("was never rotated");
    case.sr("rotate abort TYPED").code(3);
    case.sr("rotate").code(2);
    case.sr("rotate rotators list").code(2).says("--server");
}

#[test]
fn a_person_brings_the_new_value() {
    let case = Case::with_manifest(MANIFEST);
    let (old, new) = (case.canary("old"), case.canary("new"));
    case.set("BY_HAND", &old);
    case.sr("rotate resume BY_HAND").code(3);
    case.sr("rotate supply BY_HAND").stdin(&new).code(3);
    case.sr("rotate BY_HAND")
        .code(1)
        .says("waits for somebody: 1. make a key; 2. tell Ann");
    assert_eq!(case.get("BY_HAND"), old.as_bytes());
    case.sr("rotate status").ok().prints("waits for somebody");
    case.sr("rotate supply BY_HAND").stdin(&new).ok();
    assert_eq!(case.get("BY_HAND"), new.as_bytes());
    let status = report(&case, "rotate status BY_HAND --json");
    let calendar = report(&case, "rotate calendar --json");
    let next = &status["rotations"][0]["next"];
    assert!(next.is_string(), "{status}");
    assert_eq!(next, &calendar["calendar"][0]["begins"], "{calendar}");
    let history = report(&case, "rotate history BY_HAND --json");
    assert_eq!(history["success_percent"], 100, "{history}");
    assert_eq!(history["history"][0]["result"], "rotated");
    case.sr("rotate rollback BY_HAND").ok();
    assert_eq!(case.get("BY_HAND"), old.as_bytes());
    case.sr("rotate history BY_HAND").ok().prints("rolled back");
    // What waits is given up, and no longer waits.
    case.sr("rotate BY_HAND").code(1);
    case.sr("rotate abort BY_HAND").ok();
    case.sr("rotate abort BY_HAND").code(3);
    let history = report(&case, "rotate history BY_HAND --json");
    assert_eq!(history["success_percent"], 66, "{history}");
}

#[test]
fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let case = Case::with_manifest(MANIFEST);
    case.set("SIGNING", "first");
    let plan = report(&case, "rotate SIGNING --dry-run --json");
    assert_eq!(plan["rotator"], "signing-key", "{plan}");
    assert_eq!(plan["problem"], Value::Null);
    assert_eq!(plan["readers"], Value::Array(Vec::new()));
    assert_eq!(case.get("SIGNING"), b"first");
    case.sr("rotate SIGNING --dry-run")
        .ok()
        .prints("until its last token has expired")
        .prints("(cli get)");
    case.sr("rotate status SIGNING").code(3);
    case.sr("rotate SIGNING").ok();
    let value: Value = serde_json::from_slice(&case.get("SIGNING")).unwrap();
    assert_eq!(value["alg"], "EdDSA");
    case.sr("rotate calendar").ok();
    let url = "postgres://app:pw@127.0.0.1:1/db";
    case.set("DATABASE_URL", url);
    case.sr("rotate DATABASE_URL")
        .code(1)
        .says("127.0.0.1:1/db cannot be reached");
    assert_eq!(case.get("DATABASE_URL"), url.as_bytes());
    case.sr("rotate abort DATABASE_URL --abandon").ok();
}

#[test]
fn what_aws_rotates_is_rotated_there() {
    let moto = Moto::start();
    let case = Case::with_manifest(
        "[profiles.development]\nchain = [\"aws:us-east-1/shop\"]\n\
         [secrets.API_KEY]\npath = \"api/key\"\n",
    );
    moto.lead(&case);
    case.sr("set API_KEY").stdin(case.canary("first")).ok();
    // One that AWS does not rotate is told from one that it does.
    case.sr("rotate API_KEY")
        .code(2)
        .says("no rotation function in AWS");
    let rules = r#"{"SecretId":"shop/api/key","RotationRules":{"AutomaticallyAfterDays":30}}"#;
    moto.call("RotateSecret", rules);
    let done = report(&case, "rotate API_KEY --json");
    assert!(done["secret_version"].is_string(), "{done}");
    assert_eq!(done["name"], "API_KEY");
}

#[test]
fn what_the_manifest_wants_rotated_is_rotated_when_its_time_is_over() {
    let manifest = |every: &str| {
        format!(
            "[secrets.TOKEN]\nclass = \"per_install_generated\"\n\
             rotation = {{ every = \"{every}\" }}\n\
             [secrets.BY_HAND]\nclass = \"user_prompt\"\n\
             rotation = {{ every = \"{every}\", \
             rotator = {{ type = \"manual\", checklist = [\"make a key\"] }} }}\n\
             [secrets.MISSING]\nclass = \"per_install_generated\"\n\
             rotation = {{ every = \"{every}\" }}\n"
        )
    };
    let case = Case::with_manifest(&manifest("30d"));
    let (token, by_hand) = (case.canary("token"), case.canary("hand"));
    case.set("TOKEN", &token);
    case.set("BY_HAND", &by_hand);
    case.sr("rotate --due").ok().says("nothing is due");
    let calendar = report(&case, "rotate calendar --json");
    let rows = calendar["calendar"].as_array().unwrap();
    let named: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(named, ["TOKEN", "BY_HAND"], "{calendar}");
    case.manifest(&manifest("0s"));
    case.sr("rotate --due").code(1).says("not rotated: BY_HAND");
    assert_ne!(case.get("TOKEN"), token.as_bytes());
    assert_eq!(case.get("BY_HAND"), by_hand.as_bytes());
    case.sr("rotate TOKEN --every 30d").code(2).says("--server");
    case.sr("rotate").code(2);
}

#[test]
fn the_old_value_stays_until_those_who_were_given_it_have_the_new_one() {
    let manifest = |overlap: &str| {
        format!(
            "[profiles.development]\nchain = [\"store\"]\n\
             [secrets.TOKEN]\nclass = \"per_install_generated\"\n\
             rotation = {{ every = \"30d\", overlap = \"{overlap}\", wait = \"consumers\" }}\n"
        )
    };
    let case = Case::with_manifest(&manifest("3d"));
    case.set("TOKEN", case.canary("first"));
    case.sr("run -- true").ok();
    case.sr("rotate TOKEN")
        .ok()
        .says("everybody has read the new one");
    let report = || {
        let status = report(&case, "rotate status TOKEN --json");
        status["rotations"][0]["overlap"].clone()
    };
    let standing = report()["standing"].as_str().unwrap().to_owned();
    assert!(
        standing.starts_with("0 of 1 consumer on v2, true ("),
        "{standing}"
    );
    assert_eq!(report()["old_versions"], serde_json::json!([1]));
    case.sr("rotate status").ok().prints("still on v1");
    case.sr("get TOKEN --version 1").reveals().ok();
    // A further one would break what was not restarted yet.
    case.sr("rotate TOKEN")
        .code(6)
        .says("still on v1")
        .says("rotate finish TOKEN --now");
    case.sr("rotate finish TOKEN").code(6);
    case.sr("run -- true").ok();
    case.sr("rotate --due")
        .ok()
        .says("retired the old value of TOKEN");
    assert_eq!(report(), Value::Null);
    case.sr("get TOKEN --version 1").code(3);
    case.sr("rotate finish TOKEN").code(3);
    let history = self::report(&case, "rotate history TOKEN --json");
    let ended = &history["history"][0]["old_value"];
    assert_eq!(ended["because"], "consumers moved", "{history}");
    case.sr("rotate history TOKEN")
        .ok()
        .prints("1 of 1 consumer on v2");
    // By hand, and over an old value that is still good.
    case.sr("rotate TOKEN").ok();
    case.sr("rotate finish TOKEN --now")
        .ok()
        .says("still on v2");
    case.sr("rotate TOKEN").ok();
    case.sr("rotate TOKEN --now").ok();
    case.manifest(&manifest("soon"));
    case.sr("rotate TOKEN").code(5).says("overlap");
}

#[test]
fn a_policy_of_the_manifest_is_for_what_says_nothing_itself() {
    let case = Case::with_manifest(
        "[rotation.keys]\npattern = \"api/*\"\nevery = \"180d\"\nowner = \"platform\"\n\
         [rotation.all]\npattern = \"*\"\nschedule = \"cron(0 8 1 * ? *)\"\n\
         notify_before = \"60d\"\n\
         [secrets.A]\npath = \"api/a\"\nclass = \"per_install_generated\"\n\
         [secrets.B]\npath = \"b\"\nclass = \"per_install_generated\"\n\
         [secrets.C]\npath = \"api/c\"\nclass = \"per_install_generated\"\n\
         rotation = { every = \"1d\" }\n",
    );
    for name in ["A", "B", "C"] {
        case.set(name, case.canary(name));
    }
    let calendar = report(&case, "rotate calendar --json");
    let rows = calendar["calendar"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("A")["owner"], "platform", "{calendar}");
    let begins = row("B")["begins"].as_str().unwrap();
    assert!(begins.contains("-01T08:00:00"), "{begins}");
    assert_eq!(rows[0]["name"], "C", "{calendar}");
    case.sr("rotate --due").ok().says("B is due at");
    case.manifest("[rotation.x]\nevery = \"1d\"\n[secrets.A]\n");
    case.sr("rotate calendar").code(5).says("pattern");
    case.manifest("[rotation.x]\npattern = \"*\"\n[secrets.A]\n");
    case.sr("rotate calendar").code(5).says("when");
    case.manifest(
        "[rotation.x]\npattern = \"*\"\nschedule = \"cron(8)\"\n\
         [secrets.A]\npath = \"api/a\"\n",
    );
    case.sr("rotate calendar").code(5).says("schedule of A");
}

/// Somebody who administers a server.
fn on_a_server() -> (Served, Case) {
    let (served, case) = (Served::dev(), Case::new());
    case.env("STRONGROOM_ADDR", format!("http://{}", served.address));
    case.env("STRONGROOM_TOKEN", "root");
    (served, case)
}

#[test]
fn where_nothing_is_that_is_said_with_the_next_command() {
    let (_served, case) = on_a_server();
    for (what, next) in [
        ("policies", "strongroom rotate policies add"),
        ("webhooks", "strongroom rotate webhooks add"),
        ("mails", "strongroom rotate mails add"),
    ] {
        let line = format!("rotate {what} list");
        let told = case.sr(&line).ok().says(next);
        assert_eq!(told.out(), "", "{what}");
        let told = report(&case, &format!("{line} --json"));
        assert_eq!(told[what], Value::Array(Vec::new()), "{told}");
    }
    let told = case.sr("rotate rotators list").ok();
    told.prints("strongroom-generate")
        .says("no other is registered: `strongroom rotate rotators add`");
    let told = case.sr("rotate status").ok().says("strongroom rotate NAME");
    assert_eq!(told.out(), "");
    case.sr("set app/key").stdin("first").ok();
    case.sr("rotate app/key --every 30d --later").ok();
    let told = case.sr("rotate history app/key").ok();
    assert_eq!(told.says("strongroom rotate app/key").out(), "");
    // And what is there is listed.
    case.sr("rotate mails add ops --smtp smtps://mail.example --from a@b.example --to c@d.example")
        .ok();
    case.sr("rotate mails list")
        .ok()
        .prints("smtps://mail.example");
    case.sr("rotate status").ok().prints("app/key");
}

#[test]
fn what_a_server_refuses_is_told_in_its_words() {
    let (_served, case) = on_a_server();
    let value = case.canary("value");
    case.sr("set app/key").stdin(&value).ok();
    case.sr("rotate app/key --every 30d --rotator nosuch")
        .code(5)
        .says("no rotator is registered as")
        .says("nosuch");
    let declared = r#"{"type":"certificate","common_name":"a.example","validity":"10d"}"#;
    case.sr(&format!("rotate rotators add short --declare {declared}"))
        .ok();
    case.sr("rotate app/key --every 30d --rotator short")
        .code(5)
        .says("would expire before the next rotation");
    case.sr("rotate policies add all --pattern * --every 30d --rotator short")
        .code(5)
        .says("would expire before the next rotation");
    case.sr("rotate rotators add r --declare {\"type\":\"redis\",\"address\":\"redis:\"}")
        .code(5)
        .says("it is no address of the form rediss://");
    // A value that is brought is repeated nowhere.
    case.sr("rotate supply app/key").stdin(&value).code(5);
}

//! Many rotations that are due at once, on a server with its store file and its audit log.

use std::fs;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::report;
use crate::report::verdict;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::server::Server;

const SECRETS: usize = 1000;
const SECONDS_MAX: f64 = 30.0;
/// When it is given up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Lines of the audit log for each rotation: two for each of its four steps.
const LINES: usize = 8;

pub(crate) fn bench() -> AnyResult<()> {
    let rig = Rig::new()?;
    let server = Server::strongroom(&rig)?;
    for number in 0..SECRETS {
        let body = json!({ "data": { "value": format!("before-{number}") } });
        server.ask("POST", &format!("secret/data/due/{number}"), &body)?;
    }
    let begun = Instant::now();
    for number in 0..SECRETS {
        let name = format!("sys/aws/rotations/due/{number}");
        server.ask("POST", &name, &json!({}))?;
    }
    let asked = begun.elapsed().as_secs_f64();
    while finished(&server)? < SECRETS {
        if begun.elapsed() > PATIENCE {
            return Err("the rotations do not end".into());
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    report::row(&[
        &format!("{SECRETS} rotations of generated values"),
        &format!("{seconds:.1} s"),
        &format!("asked for one after the other: {asked:.1} s"),
        "",
        &format!("at most {SECONDS_MAX:.0} s"),
        verdict(seconds <= SECONDS_MAX),
    ]);
    let lines = lines(&rig.file("audit"))?;
    report::row(&[
        "lines of their steps in the audit log",
        &lines.to_string(),
        "",
        "",
        &format!("{}", SECRETS * LINES),
        verdict(lines == SECRETS * LINES),
    ]);
    let value = server.ask("GET", "secret/data/due/7", &Value::Null)?;
    let value = value["data"]["data"]["value"].as_str().unwrap_or_default();
    match value.len() == 32 && !value.starts_with("before") {
        true => Ok(()),
        false => Err("a rotated secret has no new value".into()),
    }
}

/// How many have been rotated.
fn finished(server: &Server) -> AnyResult<usize> {
    let listed = server.ask("LIST", "sys/aws/rotations", &Value::Null)?;
    let reports = listed["data"]["key_info"].as_object();
    let reports = reports.into_iter().flat_map(|all| all.values());
    Ok(reports.filter(|report| report["finished"] == 1).count())
}

fn lines(folder: &Path) -> AnyResult<usize> {
    let mut lines = 0;
    for file in fs::read_dir(folder)? {
        let text = fs::read_to_string(file?.path())?;
        let of_steps = text.lines().filter(|line| line.contains("\"rotation\":"));
        lines += of_steps.count();
    }
    Ok(lines)
}

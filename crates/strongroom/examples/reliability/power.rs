//! Power loss: what had reached the block device is frozen, the rest is gone.
//!
//! The store lies on ext4 in an image on an XFS that shares blocks. A clone of the image holds
//! exactly what the file system has written to its device up to that moment. The writers are
//! killed, the clone is mounted, and has to hold every write acknowledged before it was made.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use strongroom_store::embedded::Writes;

use crate::crew::Crew;
use crate::draw::Draw;
use crate::ledger::Ledger;
use crate::note::note;
use crate::report;
use crate::rig::AnyResult;
use crate::rig::Rig;
use crate::worker;

const LONGEST_MS: u64 = 150;
const HOST_BYTES: u64 = 2 << 30;
const DISK_BYTES: u64 = 256 << 20;
/// Writes a thread may do between the last look and the loss.
const WINDOW: u64 = 400;
/// Bytes of the file that nobody syncs: it has to be lost, or the simulator simulates nothing.
const CONTROL_BYTES: usize = 4096;

/// Runs the loops and prints the figures.
pub(crate) fn run(loops: u64) -> AnyResult<bool> {
    let folder = tempfile::tempdir()?;
    report::heading(&["what", "figure", "goal", "reached"]);
    let mut lab = match Lab::new(folder.path()) {
        Ok(lab) => lab,
        Err(error) => {
            let why = format!("not run here: {error}");
            report::row(&["power losses", &why, "at least 50", "**no**"]);
            return Ok(true);
        }
    };
    let rig = Rig::new()?;
    let key = rig.file("key");
    worker::write_key_file(&key)?;
    let key = key.display().to_string();
    let mut draw = Draw::new(2);
    let mut ledger = Ledger::default();
    let (mut not_opened, mut controls_lost, mut ready) = (0_u64, 0_u64, Vec::new());
    lab.mount(Journal::Ordered)?;
    fs::create_dir(lab.data.join("s"))?;
    rustix::fs::chmod(lab.data.join("s"), rustix::fs::Mode::RWXU)?;
    let store = lab.data.join("s/store.db");
    worker::create(&store)?;
    let store_text = store.display().to_string();
    for round in 0..loops {
        let crew = Crew::start(&store, round)?;
        crew.let_write(Duration::from_millis(draw.below(LONGEST_MS)))?;
        let control = lab.data.join(format!("control-{round}"));
        fs::write(&control, vec![1; CONTROL_BYTES])?;
        let writes = crew.acknowledged();
        lab.freeze()?;
        crew.kill()?;
        lab.unmount()?;
        lab.lose_power()?;
        let journal = if round.is_multiple_of(2) {
            Journal::Writeback
        } else {
            Journal::Ordered
        };
        lab.mount(journal)?;
        let kept = fs::read(&control).is_ok_and(|bytes| bytes == [1; CONTROL_BYTES]);
        controls_lost += u64::from(!kept);
        let start = Instant::now();
        match worker::open(&store, Writes::Inline) {
            Ok((engine, _)) => {
                let first = writes.first().ok_or("nothing was written")?.0.path()?;
                // What it answers is looked at below.
                drop(pollster::block_on(engine.read(
                    &worker::context(),
                    &first,
                    None,
                )));
                ready.push(start.elapsed());
                ledger.settle(&engine, &writes, WINDOW)?;
            }
            Err(error) => {
                not_opened += 1;
                note(&format!("round {round}: {error}"));
                break;
            }
        }
        rig.ask(&["doctor", "--store", &store_text, "--key-file", &key])?;
    }
    ready.sort_unstable();
    let at = |index: usize| {
        ready
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    let reached = report::verdict(loops >= 50);
    report::row(&["power losses", &loops.to_string(), "at least 50", reached]);
    let acknowledged = ledger.acknowledged.to_string();
    report::row(&["writes acknowledged before the loss", &acknowledged, "", ""]);
    ledger.rows();
    let reached = report::verdict(not_opened == 0);
    report::row(&[
        "stores that do not open",
        &not_opened.to_string(),
        "0",
        reached,
    ]);
    let figure = format!("{controls_lost} of {loops}");
    let reached = report::verdict(controls_lost > 0);
    report::row(&[
        "control: files without a sync that were lost",
        &figure,
        "some",
        reached,
    ]);
    let figure = format!("{:.1} ms", at(ready.len() / 2));
    report::row(&[
        "from the mount to the first value read (median)",
        &figure,
        "",
        "",
    ]);
    Ok(ledger.is_clean() && not_opened == 0 && controls_lost > 0)
}

/// How ext4 is mounted.
#[derive(Clone, Copy)]
enum Journal {
    Ordered,
    Writeback,
}

impl Journal {
    fn options(self) -> &'static str {
        match self {
            Self::Ordered => "loop,data=ordered",
            Self::Writeback => "loop,data=writeback",
        }
    }
}

/// The images and where they are mounted.
struct Lab {
    host: PathBuf,
    data: PathBuf,
    is_mounted: bool,
}

impl Lab {
    fn new(folder: &Path) -> AnyResult<Self> {
        let image = folder.join("host.img");
        let lab = Self {
            host: folder.join("host"),
            data: folder.join("data"),
            is_mounted: false,
        };
        fs::create_dir(&lab.host)?;
        fs::create_dir(&lab.data)?;
        File::create(&image)?.set_len(HOST_BYTES)?;
        tool("mkfs.xfs", &["-q", "-m", "reflink=1"], &[&image])?;
        tool("mount", &["-o", "loop"], &[&image, &lab.host])?;
        File::create(lab.disk())?.set_len(DISK_BYTES)?;
        tool("mkfs.ext4", &["-q", "-F"], &[&lab.disk()])?;
        Ok(lab)
    }

    fn disk(&self) -> PathBuf {
        self.host.join("disk.img")
    }

    fn frozen(&self) -> PathBuf {
        self.host.join("frozen.img")
    }

    fn mount(&mut self, journal: Journal) -> AnyResult<()> {
        tool(
            "mount",
            &["-o", journal.options()],
            &[&self.disk(), &self.data],
        )?;
        self.is_mounted = true;
        Ok(())
    }

    /// Clones the image: at one moment, whatever is written meanwhile.
    fn freeze(&self) -> AnyResult<()> {
        let (disk, frozen) = (File::open(self.disk())?, File::create(self.frozen())?);
        rustix::fs::ioctl_ficlone(&frozen, &disk)?;
        Ok(())
    }

    fn unmount(&mut self) -> AnyResult<()> {
        tool("umount", &[], &[&self.data])?;
        self.is_mounted = false;
        Ok(())
    }

    /// Puts the clone in the place of the image.
    fn lose_power(&self) -> AnyResult<()> {
        Ok(fs::rename(self.frozen(), self.disk())?)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What was never mounted cannot be unmounted, and that is fine.
        if self.is_mounted {
            drop(tool("umount", &[], &[&self.data]));
        }
        drop(tool("umount", &[], &[&self.host]));
    }
}

fn tool(name: &str, options: &[&str], paths: &[&Path]) -> AnyResult<()> {
    let output = Command::new(name)
        .args(options)
        .args(paths)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name}: {}", said.trim()).into())
}

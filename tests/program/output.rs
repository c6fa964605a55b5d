//! What the program writes: files whole, links kept, what is no file written into, and a reason where nothing can be written.
#![cfg(unix)]

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use crate::support::{Folder, call, memplan};

/// The call that writes to a path, for each command that does. `check --update` and the manual have tests of their own.
fn writers(path: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["snapshot", "gpt2", "-o", path],
        vec!["plan", "gpt2", "--mode", "infer", "--events", path],
        vec!["report", "gpt2", "--mode", "infer", "-o", path],
        vec!["pack", "gpt2", "--mode", "infer", "-o", path],
    ]
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.join("")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// What a call writes to a terminal of so many columns.
#[cfg(target_os = "linux")]
fn on_a_terminal(columns: u16, arguments: &[&str]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};
    use std::io::Read;

    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut child = memplan(arguments).stdout(terminal).spawn().unwrap();
    let mut said = Vec::new();
    let _ = File::from(controller).read_to_end(&mut said); // ends with an error where the other side is closed
    child.wait().unwrap();
    String::from_utf8(said).unwrap()
}

/// Text is as wide as the terminal that it goes to, elsewhere of 80 columns.
#[test]
#[cfg(target_os = "linux")]
fn text_follows_the_terminal() {
    let widest = |text: &str| text.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
    for arguments in [&["advise", "gpt2", "--capacity", "2GiB"][..], &["plan", "gpt2", "--full", "--mode", "infer"]] {
        let piped = String::from_utf8(memplan(arguments).output().unwrap().stdout).unwrap();
        assert!(widest(&piped) <= 80, "{piped}");
        let (narrow, wide) = (on_a_terminal(80, arguments), on_a_terminal(120, arguments));
        assert_eq!(narrow.replace("\r\n", "\n"), piped);
        assert!((81..=120).contains(&widest(&wide)), "{wide}");
    }
}

#[test]
fn a_link_stays_and_its_file_keeps_its_mode() {
    for (number, bits) in [0o600, 0o644, 0o640, 0o755].into_iter().enumerate() {
        let folder = Folder::new();
        fs::create_dir(folder.join("kept")).unwrap();
        let file = folder.write("kept/file.json", "old");
        fs::set_permissions(&file, Permissions::from_mode(bits)).unwrap();
        symlink("kept/file.json", folder.join("near.json")).unwrap();
        symlink("near.json", folder.join("link.json")).unwrap();
        let path = folder.argument("link.json");
        call(&writers(&path)[number]);
        assert!(folder.join("link.json").is_symlink() && folder.join("near.json").is_symlink());
        assert!(fs::read_to_string(&file).unwrap().len() > 100);
        assert_eq!(mode(&file), bits);
        assert_eq!(names(&folder), ["kept", "link.json", "near.json"]);
    }
}

#[test]
fn a_link_to_nothing_yet_makes_its_file() {
    let folder = Folder::new();
    symlink("new.yaml", folder.join("link.yaml")).unwrap();
    call(&["snapshot", "gpt2", "-o", &folder.argument("link.yaml")]);
    assert!(folder.join("link.yaml").is_symlink() && !folder.join("new.yaml").is_symlink());
    fs::write(folder.join("plain"), "").unwrap();
    assert_eq!(mode(&folder.join("new.yaml")), mode(&folder.join("plain")), "a new file has the usual mode");
    symlink("round", folder.join("round")).unwrap();
    assert!(refused(&call(&["snapshot", "gpt2", "-o", &folder.argument("round")])).contains("round"));
}

#[test]
fn pipes_and_devices_are_written_into() {
    let folder = Folder::new();
    let path = folder.argument("pipe.json");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    for arguments in writers(&path) {
        let pipe = folder.join("pipe.json");
        let reader = std::thread::spawn(move || fs::read(pipe).unwrap());
        assert_ne!(call(&arguments).status.code(), Some(2), "{arguments:?}");
        assert!(reader.join().unwrap().len() > 100, "{arguments:?}");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo(), "{arguments:?}");
    }
    assert_eq!(names(&folder), ["pipe.json"]);
    call(&["snapshot", "gpt2", "-o", "/dev/null"]);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let error = refused(&call(&["snapshot", "gpt2", "-o", "/dev/full"]));
    assert!(error.contains("/dev/full: cannot be written: No space left"), "{error}");
}

#[test]
fn standard_output_by_name_is_the_one_that_is_open() {
    let output = call(&["snapshot", "gpt2", "-o", "/dev/stdout"]);
    assert_eq!(output.stdout, call(&["snapshot", "gpt2"]).stdout);
    // what is printed after it follows it, also into a file
    let folder = Folder::new();
    let file = File::create(folder.join("both")).unwrap();
    let plan = ["plan", "gpt2", "--mode", "infer"];
    let status = memplan(&[&plan[..], &["--events", "/dev/stdout"]].concat()).stdout(file).status().unwrap();
    assert!(status.success());
    let (both, report) = (fs::read(folder.join("both")).unwrap(), call(&plan).stdout);
    assert!(both.starts_with(b"{") && both.ends_with(&report));
}

#[test]
fn where_nothing_can_be_written_the_reason_is_said() {
    let folder = Folder::new();
    fs::create_dir(folder.join("busy.json")).unwrap();
    let _listener = UnixListener::bind(folder.join("socket.json")).unwrap();
    for (name, reason) in
        [("busy.json", "it is a folder"), ("socket.json", "it is a socket"), ("gone/x.json", "No such file")]
    {
        // a snapshot makes its folder
        for arguments in writers(&folder.argument(name)).iter().skip(usize::from(name.starts_with("gone"))) {
            let error = refused(&call(arguments));
            assert!(error.contains(&format!("{name}: cannot be written: {reason}")), "{error}");
        }
    }
    assert_eq!(names(&folder), ["busy.json", "socket.json"], "nothing is left behind");
    for arguments in writers("/proc/memplan.json") {
        assert!(refused(&call(&arguments)).contains("/proc/memplan.json: cannot be written"));
    }
}

#[test]
fn a_file_that_may_not_be_written_is_not_replaced() {
    let folder = Folder::new();
    let file = folder.write("file.json", "old");
    fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
    if File::options().write(true).open(&file).is_ok() {
        return; // root may write anything
    }
    for arguments in writers(&folder.argument("file.json")) {
        assert!(refused(&call(&arguments)).contains("file.json: cannot be written: Permission denied"));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn the_manual_keeps_links_and_refuses_folders() {
    let folder = Folder::new();
    let page = folder.write("page", "old");
    fs::create_dir(folder.join("man")).unwrap();
    symlink("../page", folder.join("man/memplan.1")).unwrap();
    call(&["man", "-o", &folder.argument("man")]);
    assert!(folder.join("man/memplan.1").is_symlink());
    assert!(fs::read_to_string(page).unwrap().contains(".SH SYNOPSIS"));
    fs::remove_file(folder.join("man/memplan-plan.1")).unwrap();
    fs::create_dir(folder.join("man/memplan-plan.1")).unwrap();
    let error = refused(&call(&["man", "-o", &folder.argument("man")]));
    assert!(error.contains("memplan-plan.1: cannot be written: it is a folder"), "{error}");
}

#[test]
fn updates_keep_links_and_modes() {
    let folder = Folder::new();
    let path = folder.argument("link.yaml");
    symlink("kept.yaml", &path).unwrap();
    call(&["snapshot", "gpt2", "-o", &path]);
    let kept = folder.join("kept.yaml");
    fs::set_permissions(&kept, Permissions::from_mode(0o600)).unwrap();
    let text = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, text.replacen("batch: 1", "batch: 2", 1) + "\n").unwrap();
    let grown = fs::read_to_string(&kept).unwrap();
    call(&["check", &path, "--update"]);
    assert_ne!(fs::read_to_string(&kept).unwrap(), grown);
    assert!(folder.join("link.yaml").is_symlink() && mode(&kept) == 0o600);
}

/// A call through a shell, which can close what the program begins with.
fn shell(arguments: &str) -> Output {
    let script = format!("exec \"$0\" {arguments}");
    Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_memplan")]).output().unwrap()
}

#[test]
fn a_standard_output_that_takes_nothing_is_an_error() {
    for arguments in ["gpus", "plan gpt2 --mode infer", "snapshot gpt2", "--help", "plan --help", "--version", ""] {
        for (stream, reason) in
            [(">&-", "standard output is closed"), (">/dev/full", "No space left"), ("1</dev/null", "Bad file")]
        {
            let error = refused(&shell(&format!("{arguments} {stream}")));
            assert!(error.starts_with(&format!("memplan: error: cannot write the result: {reason}")), "{error}");
        }
    }
    for stream in [">/dev/null", "1<>/dev/null"] {
        assert!(shell(&format!("gpus {stream}")).status.success(), "{stream}");
    }
    let error = refused(&shell("snapshot gpt2 -o /dev/stdout >&-"));
    assert!(error.contains("/dev/stdout: cannot be written: standard output is closed"), "{error}");
    let folder = Folder::new();
    let written = shell(&format!("snapshot gpt2 -o {} >&-", folder.argument("kept.yaml")));
    assert!(written.status.success(), "what prints nothing needs no output: {written:?}");
    assert_eq!(names(&folder), ["kept.yaml"]);
}

#[test]
fn a_call_that_is_killed_leaves_no_part() {
    let folder = Folder::new();
    for pause in [0, 20, 60, 120] {
        let path = folder.argument("events.json");
        let mut child =
            memplan(&["plan", "gpt2", "--steps", "20", "--events", &path]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(names(&folder).iter().all(|name| name == "events.json"), "{:?}", names(&folder));
    }
}

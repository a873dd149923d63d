//! Records what the binary was built from, for reports and failure files.

use std::process::Command;

#[allow(clippy::disallowed_methods)] // cargo tells a build script by the environment
fn main() {
    println!("cargo:rerun-if-changed=src/build.rs");
    for watched in ["HEAD", "logs/HEAD"] {
        if let Some(path) = output("git", &["rev-parse", "--git-path", watched])
            && std::path::Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let rustc = std::env::var("RUSTC")
        .ok()
        .and_then(|rustc| output(&rustc, &["--version"]));
    let target = std::env::var("TARGET").ok();
    for (name, value) in [("COMMIT", commit), ("RUSTC", rustc), ("TARGET", target)] {
        let value = value.unwrap_or_else(|| "unknown".to_string());
        println!("cargo:rustc-env=EVERYACK_{name}={value}");
    }
}

/// The first line that a program prints, if it succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?.trim().to_string();
    (output.status.success() && !line.is_empty()).then_some(line)
}

//! Writes every page in every interesting state to a folder, with the assets beside them:
//! `cargo run -p pages --example gallery -- OUTDIR`, then serve OUTDIR and look at it.

#[path = "../tests/samples/mod.rs"]
mod samples;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::args().nth(1).ok_or("usage: gallery OUTDIR")?);
    fs::create_dir_all(out.join("static"))?;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("static"))? {
        let name = entry?.file_name();
        let name = name.to_str().ok_or("an asset's name is not text")?;
        let asset = pages::asset(name).ok_or("an asset is not listed")?;
        fs::write(out.join("static").join(name), asset.bytes)?;
    }
    let mut index = String::from("<!doctype html><meta charset=utf-8><title>Gallery</title><ul>");
    for (name, html) in samples::all()? {
        fs::write(out.join(format!("{name}.html")), html)?;
        index.push_str(&format!("<li><a href=\"{name}.html\">{name}</a>"));
    }
    fs::write(out.join("index.html"), index)?;
    Ok(())
}

//! Reads unseal shares, one a line in base64, and prints other shares of the same key:
//! `reshare SHARES THRESHOLD`. Each round prints as many lines as asked for.

use std::io;
use std::io::BufRead;
use std::io::Write;

use strongroom_core::secret::SecretValue;
use strongroom_crypto::SystemRng;
use strongroom_crypto::shamir;
use strongroom_crypto::shamir::UnsealShare;

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<u8>());
    let (Some(Ok(shares)), Some(Ok(threshold))) = (numbers.next(), numbers.next()) else {
        return Err(io::Error::other("usage: reshare SHARES THRESHOLD < shares"));
    };
    let mut given = Vec::new();
    for line in io::stdin().lock().lines() {
        let share = UnsealShare::parse(&SecretValue::from_text(line?));
        given.push(share.map_err(io::Error::other)?);
    }
    let key = shamir::combine(&given).map_err(io::Error::other)?;
    let made = shamir::split(&SystemRng, &key, shares, threshold).map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    for share in made {
        // EXPOSE: the program's purpose, for a server that holds nothing.
        out.write_all(share.to_base64().expose_secret())?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

//! Ports of services: each gets one of its range that nobody listens on.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::net::TcpListener;

use crate::error::SuperviseError;
use crate::manifest::Manifest;

/// The port of each name of each service.
pub(crate) type Ports = BTreeMap<String, BTreeMap<String, u16>>;

/// Finds a port for everything that asks for one.
pub(crate) fn allocate(manifest: &Manifest) -> Result<Ports, SuperviseError> {
    let rules = &manifest.ports;
    let mut taken: BTreeSet<u16> = rules.reserved.iter().copied().collect();
    taken.insert(manifest.ipc_port);
    let mut ports = Ports::new();
    for service in &manifest.services {
        let own = ports.entry(service.id.clone()).or_default();
        for port in &service.ports {
            let (min, max) = port.range.unwrap_or((rules.min, rules.max));
            let is_free =
                |number: &u16| *number != 0 && !taken.contains(number) && is_free(*number);
            let Some(number) = (min..=max).find(is_free) else {
                return Err(SuperviseError::NoPort {
                    service: service.id.clone(),
                    port: port.name.clone(),
                    min,
                    max,
                });
            };
            taken.insert(number);
            own.insert(port.name.clone(), number);
        }
    }
    Ok(ports)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

//! Whether there is a graphics processor that programs can compute with.

use std::path::Path;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::manifest::Manifest;

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Gpu {
    pub(crate) is_available: bool,
    pub(crate) reason: String,
}

impl Gpu {
    /// Looks for the devices that drivers make.
    pub(crate) fn probe() -> Self {
        let devices = ["/dev/nvidia0", "/dev/kfd", "/dev/dri/renderD128"];
        let found = devices.iter().find(|device| Path::new(device).exists());
        Self {
            is_available: found.is_some(),
            reason: match found {
                Some(device) => format!("{device} is there"),
                None => "no GPU detected".to_owned(),
            },
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "available": self.is_available, "method": "probe", "reason": self.reason })
    }

    /// The same with what services ask for.
    pub(crate) fn with_requirements(&self, manifest: &Manifest) -> Value {
        let mut value = self.to_json();
        let services = manifest.services.iter();
        let asked = services.filter_map(|service| {
            let requirement = service.needs_gpu.clone()?;
            Some((service.id.clone(), Value::String(requirement)))
        });
        value["requirements"] = Value::Object(asked.collect::<Map<_, _>>());
        value
    }
}

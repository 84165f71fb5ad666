//! Feature gates: their names and what they are by default.
//! Source: etcd v3.7.1 pkg/featuregate/feature_gate.go, server/features/etcd_features.go.

use super::number::parse_bool;
use super::value::Settings;

/// One gate. One that is not built can be named with its default and no other value.
#[derive(Debug)]
pub struct Gate {
    pub name: &'static str,
    pub stage: &'static str,
    pub default: bool,
    pub is_built: bool,
}

pub const GATES: [Gate; 11] = [
    Gate { name: "AllAlpha", stage: "ALPHA", default: false, is_built: false },
    Gate { name: "AllBeta", stage: "BETA", default: false, is_built: false },
    Gate { name: "CompactHashCheck", stage: "ALPHA", default: false, is_built: false },
    Gate { name: "FastLeaseKeepAlive", stage: "BETA", default: true, is_built: false },
    Gate { name: "InitialCorruptCheck", stage: "ALPHA", default: false, is_built: false },
    Gate { name: "LeaseCheckpoint", stage: "ALPHA", default: false, is_built: true },
    Gate { name: "LeaseCheckpointPersist", stage: "ALPHA", default: false, is_built: true },
    Gate { name: "PriorityRequest", stage: "ALPHA", default: false, is_built: false },
    Gate { name: "SetMemberLocalAddr", stage: "ALPHA", default: false, is_built: false },
    Gate { name: "StopGRPCServiceOnDefrag", stage: "ALPHA", default: false, is_built: false },
    Gate { name: "TxnModeWriteWithSharedBuffer", stage: "BETA", default: true, is_built: false },
];

/// Whether a gate is not built, hence cannot be other than it is by default.
pub fn is_missing(name: &str) -> bool {
    GATES.iter().any(|gate| gate.name == name && !gate.is_built)
}

/// Every gate: its name, its stage, whether it is open.
pub fn all(settings: &Settings) -> Vec<(&'static str, &'static str, bool)> {
    GATES.iter().map(|gate| (gate.name, gate.stage, settings.is_gate_open(gate.name))).collect()
}

/// Gates given other than they are by default, in the order given; the last word on a gate counts.
pub fn parse(text: &str) -> Result<Vec<(&'static str, bool)>, String> {
    let mut changed: Vec<(&'static str, bool)> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim()),
            None => return Err(format!("missing bool value for {}", part.trim())),
        };
        let Some(enabled) = parse_bool(value) else {
            return Err(format!(
                "invalid value of {name}={value}, err: strconv.ParseBool: parsing {value:?}: invalid syntax"
            ));
        };
        let Some(gate) = GATES.iter().find(|gate| gate.name == name) else {
            return Err(format!("unrecognized feature gate: {name}"));
        };
        changed.retain(|(before, _)| *before != gate.name);
        if enabled != gate.default {
            changed.push((gate.name, enabled));
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_change_nothing() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("AllAlpha=false, FastLeaseKeepAlive = true,"), Ok(vec![]));
        assert_eq!(parse("LeaseCheckpoint=true,LeaseCheckpoint=false"), Ok(vec![]));
        assert_eq!(parse("LeaseCheckpoint=true"), Ok(vec![("LeaseCheckpoint", true)]));
    }

    #[test]
    fn refuses_in_etcd_s_words() {
        assert_eq!(parse("Foo=true"), Err("unrecognized feature gate: Foo".to_owned()));
        assert_eq!(parse("AllAlpha"), Err("missing bool value for AllAlpha".to_owned()));
        assert_eq!(
            parse("AllAlpha=maybe"),
            Err("invalid value of AllAlpha=maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax"
                .to_owned())
        );
    }
}

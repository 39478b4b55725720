//! What a person can do for devices that do not come back from a rollout.

use crate::api::ports::PortStatus;
use crate::api::rollouts::Rollout;

/// Adds the advice. `ports` are those of the gateway: a device on one of them can be written.
pub(super) fn add(rollout: &mut Rollout, ports: &[PortStatus]) {
    let (model, base) = (&rollout.summary.model, &rollout.summary.base_name);
    for member in &mut rollout.members {
        if matches!(member.state.as_str(), "stranded" | "lost") {
            let is_its = |port: &&PortStatus| port.device_key.as_ref() == Some(&member.device);
            member.advice = Some(match ports.iter().find(is_its) {
                Some(port) => on_port(port, model, base),
                None => String::from("power-cycle it"),
            });
        }
    }
}

fn on_port(port: &PortStatus, model: &str, base: &str) -> String {
    let name = &port.name;
    let Some(slot) = port.app_slot else {
        return format!("power-cycle it. Its console: `espgate ports log {name}`");
    };
    let file = format!("{model}-{base}.bin");
    let run = format!("espgate ports run {name} -- esptool --port {{port}}");
    let mut text = format!(
        "power-cycle it. Its console: `espgate ports log {name}`. If that does not help, write \
         {base}: `espgate firmware export {model} {base} -o {file}`, `{run} write_flash {:#x} \
         {file}`",
        slot.offset
    );
    if let Some((offset, size)) = slot.choice_offset.zip(slot.choice_size) {
        text.push_str(&format!(
            ". To start that slot: `{run} erase_region {offset:#x} {size:#x}`"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ports::AppSlot;
    use crate::api::rollouts::Member;

    /// The advice for a stranded device on a port.
    fn advice(port: Option<PortStatus>) -> String {
        let mut rollout = Rollout::default();
        rollout.summary.model = String::from("lamp");
        rollout.summary.base_name = String::from("1.0");
        for (device, state) in [("k1", "stranded"), ("k2", "running")] {
            rollout.members.push(Member {
                device: device.to_owned(),
                state: state.to_owned(),
                ..Member::default()
            });
        }
        let ports: Vec<PortStatus> = port.into_iter().collect();
        add(&mut rollout, &ports);
        assert_eq!(rollout.members[1].advice, None);
        rollout.members[0].advice.clone().unwrap()
    }

    fn port(device: &str, slot: Option<AppSlot>) -> PortStatus {
        PortStatus {
            name: String::from("ttyUSB0"),
            device_key: Some(device.to_owned()),
            app_slot: slot,
            ..PortStatus::default()
        }
    }

    #[test]
    fn an_offset_is_given_only_if_the_boards_table_was_read() {
        assert_eq!(advice(None), "power-cycle it");
        assert_eq!(advice(Some(port("k7", None))), "power-cycle it");
        let unknown = advice(Some(port("k1", None)));
        assert!(unknown.contains("ports log ttyUSB0"), "{unknown}");
        assert!(!unknown.contains("write_flash"), "{unknown}");
        let one = AppSlot {
            offset: 0x1_0000,
            ..AppSlot::default()
        };
        let text = advice(Some(port("k1", Some(one))));
        let line = "`espgate ports run ttyUSB0 -- esptool --port {port} write_flash 0x10000 \
                    lamp-1.0.bin`";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("erase_region"), "{text}");
        let several = AppSlot {
            choice_offset: Some(0xD000),
            choice_size: Some(0x2000),
            ..one
        };
        let text = advice(Some(port("k1", Some(several))));
        assert!(text.contains("erase_region 0xd000 0x2000`"), "{text}");
    }
}

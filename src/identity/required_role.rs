//! The role that a route requires of its caller.

use super::Caller;
use crate::device::ModelCode;
use crate::store::registry::Role;

/// The role that a route requires.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RequiredRole {
    /// Anybody.
    Public,
    /// A device, or a fleet speaking for one.
    Device,
    /// CI, for the model in the path.
    Pipeline,
    /// Reads.
    Viewer,
    /// Reads and changes.
    Technician,
    /// Root at the control socket: mints tokens, changes TLS.
    Root,
}

/// Why an identified caller is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    /// No credential.
    #[error("No valid token provided")]
    Anonymous,
    #[error("Missing required role: device")]
    NotADevice,
    #[error("Missing required role: pipeline")]
    NotPipeline,
    #[error("Missing required role: pipeline for this model")]
    OtherModel,
    #[error("Missing required role: viewer")]
    NotViewer,
    #[error("Missing required role: technician")]
    NotTechnician,
    #[error("Missing required role: root on the gateway's control socket")]
    NotRoot,
}

/// Whether `caller` fulfils `need`; `model` is the one in the path, if any.
///
/// # Errors
/// [`Denied`], naming the role that is missing.
pub fn check(need: RequiredRole, caller: &Caller, model: Option<&ModelCode>) -> Result<(), Denied> {
    use Caller::{Anonymous, Device, Local, Token};
    let role = match caller {
        Token { role, .. } => Some(*role),
        _ => None,
    };
    let is_local = matches!(caller, Local { .. });
    let denied = match need {
        RequiredRole::Public => return Ok(()),
        RequiredRole::Device => {
            let fits = matches!(caller, Device { .. }) || role == Some(Role::Fleet);
            (!fits).then_some(Denied::NotADevice)
        }
        RequiredRole::Pipeline => match caller {
            Token {
                role: Role::Pipeline | Role::Technician,
                model: Some(own),
                ..
            } if model.is_some_and(|model| model != own) => Some(Denied::OtherModel),
            _ => {
                let fits = is_local || matches!(role, Some(Role::Pipeline | Role::Technician));
                (!fits).then_some(Denied::NotPipeline)
            }
        },
        RequiredRole::Viewer => {
            let fits = is_local || matches!(role, Some(Role::Viewer | Role::Technician));
            (!fits).then_some(Denied::NotViewer)
        }
        RequiredRole::Technician => {
            let fits = is_local || role == Some(Role::Technician);
            (!fits).then_some(Denied::NotTechnician)
        }
        RequiredRole::Root => {
            let fits = matches!(
                caller,
                Local {
                    privileged: true,
                    ..
                }
            );
            (!fits).then_some(Denied::NotRoot)
        }
    };
    match denied {
        None => Ok(()),
        Some(_) if *caller == Anonymous => Err(Denied::Anonymous),
        Some(denied) => Err(denied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(role: Role, model: Option<&str>) -> Caller {
        Caller::Token {
            name: String::from("n"),
            token_id: String::from("i"),
            role,
            model: model.map(|model| model.parse().unwrap()),
        }
    }

    #[test]
    fn every_need_against_every_caller() {
        let device = Caller::Device {
            key: "k1".parse().unwrap(),
            model: None,
            token_id: String::from("i"),
            first_use: false,
        };
        let local = |privileged| Caller::Local { uid: 1, privileged };
        // public, device, pipeline, viewer, technician, root
        for (caller, allowed) in [
            (Caller::Anonymous, "+-----"),
            (device, "++----"),
            (token(Role::Fleet, Some("m")), "++----"),
            (token(Role::Pipeline, None), "+-+---"),
            (token(Role::Pipeline, Some("m")), "+-+---"),
            (token(Role::Viewer, None), "+--+--"),
            (token(Role::Technician, None), "+-+++-"),
            (local(false), "+-+++-"),
            (local(true), "+-++++"),
        ] {
            let needs = [
                RequiredRole::Public,
                RequiredRole::Device,
                RequiredRole::Pipeline,
                RequiredRole::Viewer,
                RequiredRole::Technician,
                RequiredRole::Root,
            ];
            let model = "m".parse().unwrap();
            let found: String = needs
                .iter()
                .map(|need| match check(*need, &caller, Some(&model)) {
                    Ok(()) => '+',
                    Err(_) => '-',
                })
                .collect();
            assert_eq!(found, allowed, "{caller:?}");
        }
    }

    #[test]
    fn a_pipeline_token_of_one_model_is_no_good_for_another() {
        let caller = token(Role::Pipeline, Some("a"));
        let other = "b".parse().unwrap();
        assert_eq!(
            check(RequiredRole::Pipeline, &caller, Some(&other)),
            Err(Denied::OtherModel)
        );
    }
}

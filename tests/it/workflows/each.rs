//! A test for each workflow, by its name: they run beside each other, each in a fleet of its own.

use super::holds;

#[test]
fn sync_fleet() {
    holds("sync-fleet");
}

#[test]
fn start_vm() {
    holds("start-vm");
}

#[test]
fn stop_vm() {
    holds("stop-vm");
}

#[test]
fn create_vm() {
    holds("create-vm");
}

#[test]
fn delete_vm() {
    holds("delete-vm");
}

#[test]
fn start_allthemons() {
    holds("start-allthemons");
}

#[test]
fn stop_allthemons() {
    holds("stop-allthemons");
}

#[test]
fn reboot_allthemons() {
    holds("reboot-allthemons");
}

#[test]
fn status_allthemons() {
    holds("status-allthemons");
}

#[test]
fn start_calamity() {
    holds("start-calamity");
}

#[test]
fn stop_calamity() {
    holds("stop-calamity");
}

#[test]
fn reboot_calamity() {
    holds("reboot-calamity");
}

#[test]
fn update_calamity() {
    holds("update-calamity");
}

#[test]
fn status_calamity() {
    holds("status-calamity");
}

#[test]
fn create_stateful_vm() {
    holds("create-stateful-vm");
}

#[test]
fn setup_tailscale() {
    holds("setup-tailscale");
}

#[test]
fn destroy_slate() {
    holds("destroy-slate");
}

#[test]
fn start_gold_image() {
    holds("start-gold-image");
}

#[test]
fn deploy_apkovl() {
    holds("deploy-apkovl");
}

#[test]
fn configure_proxy() {
    holds("configure-proxy");
}

#[test]
fn vm_lifecycle_test() {
    holds("vm-lifecycle-test");
}

#[test]
fn guest_agent_test() {
    holds("guest-agent-test");
}

#[test]
fn deploy_bot() {
    holds("deploy-bot");
}

#[test]
fn setup_docker() {
    holds("setup-docker");
}

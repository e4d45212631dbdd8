//! `nginx`, inside a container of its image.

use super::args::Spec;
use super::text::options;
use crate::lab::shell::Shell;

/// `nginx -t|-T|-s reload`.
pub fn nginx(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, args, Spec { plain: &["-t", "-T", "-q", "-v"], valued: &["-s", "-c", "-p", "-g"], stop: false })
    else {
        return 1;
    };
    let container = shell.world.container.clone().unwrap_or_default();
    if options.has(&["-v"]) {
        shell.complain("nginx version: nginx/1.27.5");
        return 0;
    }
    match shell.world.host(|host| host.nginx_config(&container)) {
        Err(why) => {
            shell.complain(&why);
            1
        }
        Ok(config) if options.has(&["-t", "-T"]) => {
            shell.complain("nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\nnginx: configuration file /etc/nginx/nginx.conf test is successful");
            if options.has(&["-T"]) {
                shell.out(&config);
            }
            0
        }
        Ok(config) if options.value(&["-s"]) == Some("reload") => {
            shell.world.host(|host| host.nginx_read(&container, &config));
            0
        }
        Ok(_) => {
            shell.complain("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)");
            1
        }
    }
}

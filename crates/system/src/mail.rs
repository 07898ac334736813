//! A mail server: Postfix accepts mail over SMTP with STARTTLS, and Dovecot serves it over IMAP with TLS. Both run in
//! the foreground on loopback ports, with a configuration in a directory of the test.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use innkeeper_testing::certificates::Authority;
use innkeeper_testing::ports::free_port;
use tempfile::TempDir;

/// The address of the only mailbox.
pub const ADDRESS: &str = "inn@innkeeper.test";
/// The mailbox's password.
pub const PASSWORD: &str = "correct-horse";

const PATIENCE: Duration = Duration::from_secs(30);

/// The server. Both programs end when it is dropped.
pub struct MailServer {
    directory: TempDir,
    /// The port on which Postfix accepts mail.
    pub smtp_port: u16,
    /// The port on which Dovecot serves the mailbox.
    pub imap_port: u16,
    postfix: Option<Child>,
    dovecot: Option<Child>,
}

impl MailServer {
    /// Writes the configuration and starts both programs.
    pub fn start() -> Self {
        let directory = TempDir::with_prefix("mail").expect("a temporary directory");
        open(directory.path(), 0o755);
        let authority = Authority::new();
        authority.write_to(&directory.path().join("ca.pem"));
        authority.write_server(
            &["localhost"],
            &directory.path().join("server.pem"),
            &directory.path().join("key.pem"),
        );
        let mut server =
            Self { directory, smtp_port: free_port(), imap_port: free_port(), postfix: None, dovecot: None };
        server.write_postfix("virtual");
        server.write_dovecot();
        server.start_postfix();
        server.start_dovecot();
        server
    }

    /// The certificate of the authority that issued both servers' certificates.
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Number of mails in the mailbox.
    pub fn count(&self) -> usize {
        ["new", "cur"]
            .iter()
            .filter_map(|folder| std::fs::read_dir(self.path("mail/inn/Maildir").join(folder)).ok())
            .map(Iterator::count)
            .sum()
    }

    /// Stops Dovecot, so that the mailbox cannot be read.
    pub fn stop_dovecot(&mut self) {
        end(self.dovecot.take());
    }

    /// Starts Dovecot, so that the mailbox can be read.
    pub fn start_dovecot(&mut self) {
        let config = self.path("dovecot.conf");
        let child = self.spawn(Command::new("dovecot").arg("-F").arg("-c").arg(config), "dovecot.log");
        self.dovecot = Some(child);
        wait_for(self.imap_port);
    }

    /// Sets whether every mail is accepted and discarded, or delivered.
    pub fn lose_mails(&self, lose: bool) {
        self.write_postfix(if lose { "discard" } else { "virtual" });
        run(Command::new("postfix").arg("-c").arg(self.path("postfix")).arg("reload"));
    }

    /// Postfix's first process is a shell, and a signal to it would leave the others running. Therefore Postfix's own
    /// command stops it.
    fn stop_postfix(&mut self) {
        if self.postfix.is_some() {
            let _ = Command::new("postfix").arg("-c").arg(self.path("postfix")).arg("stop").output();
        }
        end(self.postfix.take());
    }

    fn start_postfix(&mut self) {
        let config = self.path("postfix");
        let child = self.spawn(Command::new("postfix").arg("-c").arg(config).arg("start-fg"), "postfix.log");
        self.postfix = Some(child);
        wait_for(self.smtp_port);
    }

    fn spawn(&self, command: &mut Command, log: &str) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.path(log)).expect("a log");
        let both = log.try_clone().expect("a log");
        command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .spawn()
            .expect("it is installed: scripts/test-system")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_postfix(&self, transport: &str) {
        let at = self.directory.path().display();
        for folder in ["postfix", "queue", "data", "mail/inn"] {
            std::fs::create_dir_all(self.path(folder)).expect("a directory");
            open(&self.path(folder), 0o755);
        }
        run(Command::new("chown").args(["postfix", &format!("{at}/data")]));
        run(Command::new("chown").args(["-R", "nobody:nogroup", &format!("{at}/mail")]));
        let (user, group) = (id("-u", "nobody"), id("-g", "nobody"));
        write(
            &self.path("postfix/main.cf"),
            &format!(
                "compatibility_level = 3.6
queue_directory = {at}/queue
data_directory = {at}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {at}/postfix-mail.log
maillog_file_prefixes = {at}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.innkeeper.test
mydestination =
alias_maps =
alias_database =
virtual_mailbox_domains = innkeeper.test
virtual_transport = {transport}
virtual_mailbox_base = {at}/mail
virtual_mailbox_maps = static:inn/Maildir/
virtual_uid_maps = static:{user}
virtual_gid_maps = static:{group}
virtual_minimum_uid = 1
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = may
smtpd_tls_cert_file = {at}/server.pem
smtpd_tls_key_file = {at}/key.pem
smtpd_client_connection_rate_limit = 0
"
            ),
        );
        let services = [
            format!("127.0.0.1:{} inet n - n - - smtpd", self.smtp_port),
            "pickup unix n - n 60 1 pickup".to_owned(),
            "cleanup unix n - n - 0 cleanup".to_owned(),
            "qmgr unix n - n 300 1 qmgr".to_owned(),
            "tlsmgr unix - - n 1000? 1 tlsmgr".to_owned(),
            "rewrite unix - - n - - trivial-rewrite".to_owned(),
            "bounce unix - - n - 0 bounce".to_owned(),
            "defer unix - - n - 0 bounce".to_owned(),
            "trace unix - - n - 0 bounce".to_owned(),
            "verify unix - - n - 1 verify".to_owned(),
            "flush unix n - n 1000? 0 flush".to_owned(),
            "proxymap unix - - n - - proxymap".to_owned(),
            "smtp unix - - n - - smtp".to_owned(),
            "showq unix n - n - - showq".to_owned(),
            "error unix - - n - - error".to_owned(),
            "retry unix - - n - - error".to_owned(),
            "discard unix - - n - - discard".to_owned(),
            "virtual unix - n n - - virtual".to_owned(),
            "anvil unix - - n - 1 anvil".to_owned(),
            "scache unix - - n - 1 scache".to_owned(),
            "postlog unix-dgram n - n - 1 postlogd".to_owned(),
        ];
        write(&self.path("postfix/master.cf"), &format!("{}\n", services.join("\n")));
    }

    fn write_dovecot(&self) {
        let at = self.directory.path().display();
        let (user, group) = (id("-u", "nobody"), id("-g", "nobody"));
        write(
            &self.path("dovecot.conf"),
            &format!(
                "base_dir = {at}/dovecot
log_path = {at}/dovecot-mail.log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{at}/server.pem
ssl_key = <{at}/key.pem
mail_location = maildir:{at}/mail/inn/Maildir
first_valid_uid = 1
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={at}/mail/inn
}}
namespace inbox {{
  inbox = yes
  mailbox Trash {{
    auto = create
    special_use = \\Trash
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
auth_failure_delay = 0
",
                self.imap_port
            ),
        );
    }

    /// The logs of both programs, for a test that fails.
    pub fn logs(&self) -> String {
        ["postfix.log", "postfix-mail.log", "dovecot.log", "dovecot-mail.log"]
            .iter()
            .map(|name| {
                format!("--- {name}\n{}", std::fs::read_to_string(self.path(name)).unwrap_or_default())
            })
            .collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.stop_postfix();
        end(self.dovecot.take());
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// Terminates a process and waits for its end.
fn end(child: Option<Child>) {
    let Some(mut child) = child else { return };
    let _ = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Ok(Some(_)) = child.try_wait() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn wait_for(port: u16) {
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nobody listens on {port}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("it can be written");
}

fn open(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode can be set");
}

fn id(what: &str, user: &str) -> String {
    let out = Command::new("id").args([what, user]).output().expect("id runs");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Runs a command until it ends. Panics if it fails.
pub(crate) fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

use super::*;

fn wrapping(shell: &'static str) -> Wrapping<'static> {
    let agent = Path::new("/usr/bin/innkeeper-agent");
    Wrapping { agent, app: "web1", component: "backup", flags: &[], shell, percent: Percent::Input }
}

fn wrap(command: &str) -> Result<String, String> {
    let wrapped = wrapping("/bin/sh").wrap(command.as_bytes(), 0, false)?;
    let back = unwrap(&wrapped, Percent::Input).expect("it is known again");
    assert_eq!(back.command, command.as_bytes());
    assert_eq!((back.app.as_str(), back.component.as_str()), ("web1", "backup"));
    Ok(String::from_utf8(wrapped).unwrap())
}

#[test]
fn odd_commands() {
    const HEAD: &str = "/usr/bin/innkeeper-agent exec web1/backup -- ";
    for (command, wrapped) in [
        ("/a/b --c", "/a/b --c #innkeeper"),
        ("/a/b  c ", "/a/b  c  #innkeeper"),
        ("cd /a && ./b", "/bin/sh -c 'cd /a && ./b' #innkeeper"),
        ("a | b > c &", "/bin/sh -c 'a | b > c &' #innkeeper"),
        ("echo 'x'", "/bin/sh -c 'echo '\\''x'\\''' #innkeeper"),
        ("awk '{print $1}' \"`x`\"", "/bin/sh -c 'awk '\\''{print $1}'\\'' \"`x`\"' #innkeeper"),
        ("date +\\%F", "/bin/sh -c 'date +\\%F' #innkeeper"),
        ("cat%one%two", "/bin/sh -c 'cat' #innkeeper%one%two"),
        ("/bin/cat%one", "/bin/cat #innkeeper%one"),
        ("echo '\\%'%in", "/bin/sh -c 'echo '\\''\\%'\\''' #innkeeper%in"),
        ("echo a\\", "/bin/sh -c 'echo a\\' #innkeeper"),
        ("echo a # b", "/bin/sh -c 'echo a # b' #innkeeper"),
        ("FOO=1 /x", "/bin/sh -c 'FOO=1 /x' #innkeeper"),
        ("/x\r", "/bin/sh -c '/x\r' #innkeeper"),
        ("'", "/bin/sh -c ''\\''' #innkeeper"),
    ] {
        assert_eq!(wrap(command).as_deref(), Ok(format!("{HEAD}{wrapped}").as_str()));
    }
}

#[test]
fn what_cannot_be_wrapped_says_why() {
    for (command, why) in [("", "no command"), ("  ", "no command"), ("%x", "no command"), ("a\0b", "NUL")] {
        let problem = wrap(command).unwrap_err();
        assert!(problem.contains(why), "{problem}");
    }
    for shell in ["/usr/bin/fish", "/bin/csh", "/usr/bin/python3", "bash", "/my bin/sh", "/a'b/sh", ""] {
        let problem = wrapping(Box::leak(shell.into())).wrap(b"a", 0, false).unwrap_err();
        assert!(problem.contains("SHELL"), "{problem}");
    }
    for agent in ["innkeeper-agent", "/my bin/innkeeper-agent", "/usr/bin/agent", "/100%/innkeeper-agent"] {
        let wrapping = Wrapping { agent: Path::new(agent), ..wrapping("/bin/sh") };
        assert!(wrapping.wrap(b"a", 0, false).unwrap_err().contains("the agent is at"));
    }
    let unknown = Wrapping { percent: Percent::Unknown, ..wrapping("/bin/sh") };
    unknown.wrap(b"date +%F", 0, false).unwrap_err();
    unknown.wrap(b"date", 0, false).unwrap();
}

#[test]
fn a_line_stays_within_what_cron_takes() {
    let overhead = wrap("/x").unwrap().len() - 2;
    let fits = |length: usize| format!("/{}", "x".repeat(length - 1));
    wrap(&fits(998 - overhead)).unwrap();
    let problem = wrap(&fits(999 - overhead)).unwrap_err();
    assert!(problem.contains("999 bytes"), "{problem}");
    wrapping("/bin/sh").wrap(fits(998 - overhead).as_bytes(), 1, false).unwrap_err();
    // The line shows that it is cronie's, which accepts longer commands.
    wrapping("/bin/sh").wrap(fits(999 - overhead).as_bytes(), 0, true).unwrap_err();
    wrapping("/bin/sh").wrap(fits(2000).as_bytes(), 0, true).unwrap();
}

#[test]
fn only_its_own_changes_are_taken_back() {
    for command in [
        "/usr/bin/innkeeper-agent exec a/b -- /x",
        "/usr/bin/innkeeper-agent exec a/b -- /bin/sh -c 'x' y #innkeeper",
        "/usr/bin/innkeeper-agent exec a/b /x #innkeeper",
        "/usr/bin/innkeeper-agent exec a -- /x #innkeeper",
        "innkeeper-agent exec a/b -- /x #innkeeper",
        "/usr/bin/other exec a/b -- /x #innkeeper",
        "/usr/bin/innkeeper-agent exec a/b -- x && y #innkeeper",
        "/x #innkeeper",
        "",
    ] {
        assert_eq!(unwrap(command.as_bytes(), Percent::Input), None, "{command}");
    }
}

#[test]
fn options_are_quoted_and_taken_back() {
    let flags: Vec<String> =
        ["--cron", "0 2 * * *", "--tz", "Europe/Berlin"].iter().map(ToString::to_string).collect();
    let wrapping = Wrapping { flags: &flags, app: "my shop", ..wrapping("/bin/bash") };
    let wrapped = wrapping.wrap(b"a|b", 0, false).unwrap();
    let text = "/usr/bin/innkeeper-agent exec 'my shop/backup' --cron '0 2 * * *' --tz Europe/Berlin -- /bin/bash -c \
                'a|b' #innkeeper";
    assert_eq!(String::from_utf8_lossy(&wrapped), text);
    let back = unwrap(&wrapped, Percent::Input).unwrap();
    assert_eq!((back.command.as_slice(), back.app.as_str()), (&b"a|b"[..], "my shop"));
}

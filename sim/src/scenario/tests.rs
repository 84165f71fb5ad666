use std::path::Path;

use holdfast_core::base::MemberId;
use holdfast_core::members::derive_added_member_id;
use holdfast_core::request::{Credentials, Request, RequestOp};

use super::*;
use crate::plan::step::{Action, By, Group, When, Who};
use crate::plan::{SECOND, Shape};

fn parse(text: &str) -> Result<Scenario, String> {
    Scenario::parse(Path::new("story.toml"), text.to_owned()).map_err(|error| error.to_string())
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("it is refused")
}

const STYLE: &str = r#"
about  = "A deposed leader must not answer reads or lose acknowledged writes"
nodes  = { voters = 3 }
until  = { virtual = "60s", then_calm = "20s" }
limits = { log_tail_bytes_max = [64, 65536], checkpoint_log_bytes_min = [10, 500] }

[[workload]]
kind = "register"
clients = 5
keys = 3
rate = "200/s"
[[workload]]
kind = "watch"
streams = 20
credit = ["1ms", "3s"]
[[fault]]
kind = "partition"
shape = "isolate_leader"
every = ["1s", "5s"]
heal = ["200ms", "4s"]
[[fault]]
kind = "crash"
every = ["2s", "9s"]
disk = { lose_unsynced = 1.0, torn_tail = 0.2 }
[check]
all = true
hits = ["leader_cut_off", "TailOverwritten"]
"#;

#[test]
fn a_file_in_the_form_of_the_style_sheet_becomes_a_plan() {
    let scenario = parse(STYLE).expect("it is sound");
    let plan = scenario.plan(7);
    assert_eq!((plan.members.len(), plan.clients, plan.keys, plan.streams), (3, 5, 3, 20));
    assert_eq!((plan.storm_ns, plan.calm_ns_min), (60 * SECOND, 20 * SECOND));
    assert!((64..=65536).contains(&plan.members[1].limits.log_tail_bytes_max));
    assert_eq!(plan.partitions.shapes, [Shape::IsolateLeader]);
    assert_eq!(plan.members[2].disk.torn, 0.2);
    assert_eq!(scenario.hits, [Mark::LeaderCutOff, Mark::TailOverwritten]);
}

#[test]
fn a_range_is_drawn_from_the_seed_and_from_its_own_key() {
    let scenario = parse(STYLE).expect("it is sound");
    let tail = |plan: &Plan| plan.members[0].limits.log_tail_bytes_max;
    let drawn: Vec<u64> = (0..20).map(|seed| tail(&scenario.plan(seed))).collect();
    assert!(drawn.iter().any(|value| *value != drawn[0]));
    assert_eq!(drawn[3], tail(&scenario.plan(3)));
    let other = parse(&STYLE.replace("checkpoint_log_bytes_min = [10, 500]", "work_max = [1, 5]"));
    assert_eq!(drawn[3], tail(&other.expect("it is sound").plan(3)));
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    let cases = [
        ("about = \"x\"\nnods = 3\n", "story.toml:2: a scenario knows no key `nods`"),
        ("nodes = 3\n", "story.toml:1: a scenario: `about` is missing"),
        ("about = \"x\"\nprofile = \"wild\"\n", "story.toml:2: `profile` is one of standard"),
        (
            "about = \"x\"\n\nuntil = { virtual = [\"5s\", \"1s\"] }\n",
            "story.toml:3: `virtual`: the range [\"5s\", \"1s\"] is empty",
        ),
        ("about = \"x\"\n[[fault]]\nkind = \"earthquake\"\n", "story.toml:3: `kind` is one of partition"),
        (
            "about = \"x\"\n[[fault]]\nkind = \"pause\"\nevery = \"1s\"\nlasts = 3\n",
            "story.toml:5: `lasts` is a time",
        ),
        ("about = \"x\"\n[[fault]]\nkind = \"loss\"\nrate = 1.5\n", "story.toml:4: `rate` lies from 0 to 1"),
        (
            "about = \"x\"\n[check]\nhits = [\"first_contact\"]\n",
            "story.toml:3: no mark is called `first_contact`",
        ),
        ("about = \"x\"\n[check]\nbroke = \"luck\"\n", "story.toml:3: `broke` is one of append"),
        ("about = \"x\"\nnodes = 3\n[[step]]\nstart = 3\n", "story.toml:4: there is no member 3"),
        ("about = \"x\"\nnodes = [3, 5]\n[[step]]\nstart = 4\n", "story.toml:4: there is no member 4"),
        ("about = \"x\"\n[[step]]\nheal = \"a\"\n", "story.toml:3: no step before gives the name `a`"),
        (
            "about = \"x\"\n[[step]]\nat = \"1s\"\nafter = \"1s\"\n",
            "story.toml:4: `after` stands beside `at`",
        ),
        ("about = \"x\"\n[[step]]\nput = { to = 0, key = 'a\\q' }\n", "story.toml:3: a backslash"),
        (
            "about = \"x\"\n[[step]]\nget = { to = 0, key = 'a', serialisable = true }\n",
            "story.toml:3: step 1.get knows no key `serialisable`",
        ),
        (
            "about = \"x\"\n[[step]]\nget = { to = 0, key = 'a' }\nexpect = \"luck\"\n",
            "story.toml:4: no answer is called `luck`",
        ),
        (
            "about = \"x\"\nstep = [\n  { start = 0 },\n  { flip = { member = 0, part = \"tail\" } },\n]\n",
            "story.toml:4: `part` is one of log, log_end, checkpoint",
        ),
        (
            "about = \"x\"\ndisk = { loses = [\"tail\", \"all\"] }\n",
            "story.toml:2: `loses 2` is one of everything, nothing, tail",
        ),
        (
            "about = \"x\"\n[[step]]\nfill = { to = 0, keys = 0 }\n",
            "story.toml:3: `keys` lies from 1 to 10000",
        ),
        (
            "about = \"x\"\n[[step]]\ndrop = { from = \"rest\", to = \"rest\" }\n",
            "story.toml:3: `rest` is all but the other side",
        ),
        ("about = \"x\"\n[[step]]\nwhen = { leads = 3 }\n", "story.toml:3: there is no member 3"),
        ("about = \"x\"\n[check]\nkills = [4]\n", "story.toml:3: `kills 1` is a text, not 4"),
        (
            "about = \"x\"\nnodes = [3, 5]\n[[step]]\nmember_add = { to = 0 }\n",
            "story.toml:3: a step adds a member only where `nodes` is one number",
        ),
        (
            "about = \"x\"\n[[step]]\nput = { to = 0, member = 1, key = 'a' }\n",
            "story.toml:3: `put` knows no key `member`",
        ),
        ("about = \"x\"\n[[step]]\nmove_leader = { to = 0 }\n", "story.toml:3: step 1.move_leader: `id` is"),
        ("about = \"x\n", "story.toml:1: "),
    ];
    for (text, wanted) in cases {
        let told = refusal(text);
        assert!(told.starts_with(wanted), "{text}\n  is refused as  {told}\n  not as  {wanted}");
    }
}

#[test]
fn who_asks_stands_beside_the_request() {
    let text = r#"
about = "x"
auth = { share = 0.25 }
[[step]]
auth = { to = 0, call = "authenticate", name = "ann", password = "p" }
by = "nobody"
as = "login"
[[step]]
get = { to = 0, key = "k" }
by = { token_of = "login" }
[[step]]
watch = { to = 0, key = "k", by = { user = "ann", auth_revision = 3 } }
[[step]]
leases = { to = 0 }
"#;
    let plan = parse(text).expect("it is sound").plan(1);
    assert_eq!(plan.auth.map(|auth| auth.share), Some(0.25));
    let by: Vec<&By> = plan
        .script
        .iter()
        .map(|step| match &step.action {
            Action::Ask { ask, .. } => &ask.by,
            Action::Open { by, .. } => by,
            other => panic!("{other:?}"),
        })
        .collect();
    let signed = Credentials::Signed { user: "ann".into(), auth_revision: 3 };
    let wanted = [By::Is(Credentials::None), By::TokenOf("login".into()), By::Is(signed), By::Root];
    assert_eq!(by, wanted.each_ref());
    let stray = text.replace("token_of = \"login\"", "token_of = \"logout\"");
    assert_eq!(refusal(&stray), "story.toml:10: no step before gives the name `logout`");
    let nameless = text.replace("by = \"nobody\"", "by = { auth_revision = 3 }");
    assert_eq!(refusal(&nameless), "story.toml:6: `by` has a `user`, a `token` or a `token_of`");
}

#[test]
fn values_that_a_file_makes_short_are_short_with_every_seed() {
    let text = "about = \"x\"\n[[workload]]\nkind = \"register\"\nvalue_bytes = 300\n";
    let scenario = parse(text).expect("it is sound");
    for seed in 0..50 {
        let plan = scenario.plan(seed);
        assert_eq!((plan.value_bytes_min.max(plan.value_bytes_max), seed), (300, seed));
    }
}

#[test]
fn steps_become_data() {
    let text = r#"
about = "x"
[[step]]
when = "leader"
as = "a"
[[step]]
cut = { between = "a", and = "rest" }
[[step]]
after = "1.5s"
put = { to = "a", key = 'k\x00', value = "v", value_bytes = 3 }
expect = "unknown"
[[step]]
repeat = { steps = 2, times = 3 }
"#;
    let plan = parse(text).expect("it is sound").plan(1);
    assert_eq!(plan.script.len(), 9);
    assert_eq!((plan.ops_max, plan.streams), (0, 0));
    assert_eq!(plan.script[2].when, When::After(1_500_000_000));
    let Action::Ask { ask, .. } = &plan.script[2].action else { panic!("it asks") };
    let wanted = "Put(PutRequest { key: b\"k\\0\", value: b\"v..\",";
    assert!(format!("{:?}", ask.request).starts_with(wanted), "{:?}", ask.request);
    assert!(!ask.waits);
}

#[test]
fn an_unknown_key_of_a_recorded_plan_names_its_commit() {
    let text = "about = \"x\"\ncommit = \"abc clean\"\nseed = 1\nfuture = 3\n";
    let error = Scenario::parse(Path::new("plan.toml"), text.to_owned()).expect_err("no key is called so");
    assert_eq!(error.line, 4);
    assert!(error.what.ends_with("(a plan recorded at abc clean)"), "{error}");
}

#[test]
fn steps_in_one_list_know_their_lines_and_are_drawn_apart() {
    let text = r#"
about = "x"
step = [
  { crash = { member = 0, behind = "effect", skip = [0, 1000] } },
  { crash = { member = 0, behind = "effect", skip = [0, 1000] } },
  { drop = { kind = "vote", from = [0, 1], to = 2 }, as = "votes" },
  { release = { mail = "votes", count = 2 } },
  { when = { caught_up = [0, 1] } },
]

[check]
kills = ["B18-x"]
"#;
    let scenario = parse(text).expect("it is sound");
    let steps = scenario.plan(1).script;
    assert_eq!(steps.iter().map(|step| step.line).collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
    let skip = |place: usize| match steps[place].action {
        Action::CrashBehind { skip, .. } => skip,
        _ => panic!("it crashes"),
    };
    assert_ne!(skip(0), skip(1));
    let Action::Seize { filter, .. } = &steps[2].action else { panic!("it drops") };
    assert_eq!(filter.from, Some(Group::Of(vec![Who::Number(0), Who::Number(1)])));
    assert_eq!(steps[3].action, Action::Release { name: "votes".to_owned(), count: 2, times: 1 });
    assert_eq!(scenario.kills, [Kill { mutant: "B18-x".to_owned(), line: 12 }]);
}

#[test]
fn a_fill_is_some_transactions_of_puts() {
    let text =
        "about = \"x\"\n[[step]]\nafter = \"1s\"\nfill = { to = 0, keys = 250, prefix = \"k\", lease = 7 }\n";
    let steps = parse(text).expect("it is sound").plan(1).script;
    assert_eq!(
        steps.iter().map(|step| step.when.clone()).collect::<Vec<_>>(),
        [When::After(SECOND), When::After(0), When::After(0)]
    );
    let Action::Ask { ask, .. } = &steps[2].action else { panic!("it asks") };
    let Request::Txn(txn) = &ask.request else { panic!("a transaction") };
    let RequestOp::Put(last) = &txn.success[49] else { panic!("a put") };
    assert_eq!((txn.success.len(), &last.key[..], last.lease.0), (50, &b"k0249"[..], 7));
}

#[test]
fn members_that_steps_add_have_machines_and_numbers() {
    let text = r#"
about = "x"
nodes = 2
[[step]]
member_add = { to = "leader", learner = true }
[[step]]
member_add = { to = 0, peer_urls = ["http://m9:2380"], unix = 5 }
expect = "ok"
[[step]]
start = [2, 3]
[[step]]
wipe = { member = 1, returns = "2s" }
[[step]]
suspend = { member = 1, lasts = "9s" }
[[step]]
member_promote = { to = 0, member = 2 }
[[step]]
member_remove = { to = 0, id = 0xffff_ffff_ffff_ffff }
"#;
    let plan = parse(text).expect("it is sound").plan(1);
    let Action::Ask { ask, .. } = &plan.script[0].action else { panic!("it asks") };
    let Request::MemberAdd { peer_urls, is_learner: true, unix_s } = &ask.request else { panic!("{ask:?}") };
    let ids = [
        derive_added_member_id(peer_urls, *unix_s),
        derive_added_member_id(&["http://m9:2380".to_owned()], 5),
    ];
    assert_eq!(peer_urls, &["http://m2:2380"]);
    assert_eq!(plan.membership.enlisted.iter().map(|known| known.id).collect::<Vec<_>>(), ids);
    assert_eq!((plan.membership.newcomers.len(), plan.members_max()), (2, 4));
    assert_eq!(plan.script[3].action, Action::Wipe { member: Who::Number(1), returns_ns: Some(2 * SECOND) });
    assert_eq!(plan.clocks.suspend_ns.1, 9 * SECOND);
    let Action::Ask { ask, .. } = &plan.script[5].action else { panic!("it asks") };
    assert_eq!(ask.subject, Some(Who::Number(2)));
    let Action::Ask { ask, .. } = &plan.script[6].action else { panic!("it asks") };
    assert_eq!(ask.request, Request::MemberRemove { id: MemberId(u64::MAX) });
}

//! Jobs whose check-ins alone are refused.

use innkeeper_core::reservation::Window;
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

#[test]
fn what_is_refused_since_a_job_was_heard_of_is_a_blind_window_of_its_own() {
    for database in TestDatabase::both() {
        let store = database.store();
        store.book("backup", &every(60));
        store.book("other", &every(60));
        let [mut writer, mut second] = [(); 2].map(|()| store.writer());
        let refuse = |writer: &mut innkeeper_store::Writer, from, seconds| {
            writer.note_refusal(&arrival("backup", success(at(seconds))), at(from)).unwrap();
        };
        let blind = |component: &str| store.listed(store.look(component).id, at(500)).unwrap().unwrap().blind;
        let window = |from, until| [Window { from: at(from), until: at(until) }];
        writer.record(&[arrival("backup", success(at(1))), arrival("other", success(at(1)))]).unwrap();
        assert_eq!(blind("backup"), []);
        refuse(&mut writer, 60, 61);
        refuse(&mut second, 120, 121);
        refuse(&mut writer, 60, 90);
        assert_eq!(blind("backup"), window(60, 181), "of all nodes, until the next would be expected");
        assert_eq!(blind("other"), []);
        let until_now = store.listed(store.look("backup").id, at(130)).unwrap().unwrap().blind;
        assert_eq!(until_now, window(60, 130), "no further than now");
        writer.note_refusal(&arrival("nobody", success(at(5))), at(5)).unwrap();
        writer.record(&[arrival("backup", success(at(180)))]).unwrap();
        refuse(&mut writer, 240, 240);
        assert_eq!(blind("backup"), window(240, 300), "it was heard of meanwhile");
        store.forget_blind_windows(at(241)).unwrap();
        assert_eq!(blind("backup"), []);
    }
}

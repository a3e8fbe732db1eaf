/* uwsgi_absent.c - the module `uwsgi`: names that are there, and say why they
 * do nothing.
 *
 * Each raises NotImplementedError, which is a RuntimeError, with what to use
 * instead.  Some come with a later version, others stay out.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/uwsgi_api.h"

#include "base/gl.h"

/* Why a group of names is absent. */
#define LATER "comes with the supervisor of several workers; until then "
#define OUT "stays out of Greenloop; "

#define LOCK                                          \
    LATER "use threading.Lock, or asyncio.Lock with " \
          "greenloop.await_(): there is one worker"
#define SIGNAL LATER "use loop.call_soon_threadsafe(): there is one worker"
#define TIMER LATER "use loop.call_later() or a task of the loop"
#define WATCH LATER "watch the file in a task of the loop"
#define CACHE LATER "use a dict, because there is one worker, or Redis"
#define METRIC LATER "count in a variable: there is one worker"
#define RELOAD LATER "stop the server, and let systemd start it again"
#define HARAKIRI LATER "use the timeout of greenloop.await_()"
#define QUEUE OUT "use asyncio.Queue, collections.deque, or Redis"
#define SHARED OUT "use multiprocessing.shared_memory, or a bytearray"
#define MULE OUT "use greenloop.spawn(), or a process of its own"
#define SPOOL OUT "use a task queue such as Celery or RQ"
#define RPC OUT "ask over HTTP, say with aiohttp and greenloop.await_()"
#define ALARM OUT "use a handler of logging"
#define ROUTE OUT "let the proxy in front route"
#define SNMP OUT "use an exporter of metrics"
#define CONFIG OUT "read the file in Python"
#define LEGION OUT "use a lock of Redis, etcd or PostgreSQL"
#define OFFLOAD OUT "use loop.run_in_executor() with greenloop.await_()"

static PyObject *
absent_call(PyObject *text, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    PyErr_SetObject(PyExc_NotImplementedError, text);
    return NULL;
}

#define ABSENT(name, why) {name, GL_UWSGI_KEYWORDS(absent_call), why}

/* The doc of a row is why it is absent. */
static PyMethodDef absent[] = {
    ABSENT("lock", LOCK),
    ABSENT("unlock", LOCK),
    ABSENT("is_locked", LOCK),
    ABSENT("register_signal", SIGNAL),
    ABSENT("signal", SIGNAL),
    ABSENT("signal_registered", SIGNAL),
    ABSENT("signal_wait", SIGNAL),
    ABSENT("signal_received", SIGNAL),
    ABSENT("add_timer", TIMER),
    ABSENT("add_ms_timer", TIMER),
    ABSENT("add_rb_timer", TIMER),
    ABSENT("add_cron", TIMER),
    ABSENT("add_file_monitor", WATCH),
    ABSENT("cache_get", CACHE),
    ABSENT("cache_set", CACHE),
    ABSENT("cache_update", CACHE),
    ABSENT("cache_del", CACHE),
    ABSENT("cache_exists", CACHE),
    ABSENT("cache_clear", CACHE),
    ABSENT("cache_inc", CACHE),
    ABSENT("cache_dec", CACHE),
    ABSENT("cache_mul", CACHE),
    ABSENT("cache_div", CACHE),
    ABSENT("cache_num", CACHE),
    ABSENT("cache_keys", CACHE),
    ABSENT("metric_get", METRIC),
    ABSENT("metric_set", METRIC),
    ABSENT("metric_inc", METRIC),
    ABSENT("metric_dec", METRIC),
    ABSENT("metric_mul", METRIC),
    ABSENT("metric_div", METRIC),
    ABSENT("metric_set_max", METRIC),
    ABSENT("metric_set_min", METRIC),
    ABSENT("reload", RELOAD),
    ABSENT("set_user_harakiri", HARAKIRI),
    ABSENT("queue_push", QUEUE),
    ABSENT("queue_pull", QUEUE),
    ABSENT("queue_pop", QUEUE),
    ABSENT("queue_get", QUEUE),
    ABSENT("queue_set", QUEUE),
    ABSENT("queue_last", QUEUE),
    ABSENT("queue_slot", QUEUE),
    ABSENT("queue_pull_slot", QUEUE),
    ABSENT("sharedarea_read", SHARED),
    ABSENT("sharedarea_write", SHARED),
    ABSENT("sharedarea_readbyte", SHARED),
    ABSENT("sharedarea_writebyte", SHARED),
    ABSENT("sharedarea_readlong", SHARED),
    ABSENT("sharedarea_writelong", SHARED),
    ABSENT("sharedarea_read8", SHARED),
    ABSENT("sharedarea_read16", SHARED),
    ABSENT("sharedarea_read32", SHARED),
    ABSENT("sharedarea_read64", SHARED),
    ABSENT("sharedarea_write8", SHARED),
    ABSENT("sharedarea_write16", SHARED),
    ABSENT("sharedarea_write32", SHARED),
    ABSENT("sharedarea_write64", SHARED),
    ABSENT("sharedarea_inc32", SHARED),
    ABSENT("sharedarea_inc64", SHARED),
    ABSENT("sharedarea_dec32", SHARED),
    ABSENT("sharedarea_dec64", SHARED),
    ABSENT("sharedarea_rlock", SHARED),
    ABSENT("sharedarea_wlock", SHARED),
    ABSENT("sharedarea_unlock", SHARED),
    ABSENT("sharedarea_update", SHARED),
    ABSENT("sharedarea_memoryview", SHARED),
    ABSENT("sharedarea_object", SHARED),
    ABSENT("websocket_send_from_sharedarea", SHARED),
    ABSENT("websocket_send_binary_from_sharedarea", SHARED),
    ABSENT("mule_msg", MULE),
    ABSENT("mule_get_msg", MULE),
    ABSENT("farm_msg", MULE),
    ABSENT("farm_get_msg", MULE),
    ABSENT("in_farm", MULE),
    ABSENT("install_mule_msg_hook", MULE),
    ABSENT("spool", SPOOL),
    ABSENT("send_to_spooler", SPOOL),
    ABSENT("spooler_jobs", SPOOL),
    ABSENT("spooler_pid", SPOOL),
    ABSENT("spooler_pids", SPOOL),
    ABSENT("spooler_get_task", SPOOL),
    ABSENT("spooler_dir", SPOOL),
    ABSENT("set_spooler_frequency", SPOOL),
    ABSENT("i_am_the_spooler", SPOOL),
    ABSENT("register_rpc", RPC),
    ABSENT("rpc", RPC),
    ABSENT("call", RPC),
    ABSENT("rpc_list", RPC),
    ABSENT("alarm", ALARM),
    ABSENT("route", ROUTE),
    ABSENT("parsefile", CONFIG),
    ABSENT("extract", CONFIG),
    ABSENT("embedded_data", CONFIG),
    ABSENT("i_am_the_lord", LEGION),
    ABSENT("lord_scroll", LEGION),
    ABSENT("scrolls", LEGION),
    ABSENT("snmp_set_community", SNMP),
    ABSENT("snmp_set_counter32", SNMP),
    ABSENT("snmp_set_counter64", SNMP),
    ABSENT("snmp_set_gauge", SNMP),
    ABSENT("snmp_incr_counter32", SNMP),
    ABSENT("snmp_incr_counter64", SNMP),
    ABSENT("snmp_incr_gauge", SNMP),
    ABSENT("snmp_decr_counter32", SNMP),
    ABSENT("snmp_decr_counter64", SNMP),
    ABSENT("snmp_decr_gauge", SNMP),
    ABSENT("offload", OFFLOAD),
};

/* The function of one row, whose self is what it raises.  0 or -1. */
static int
add_absent(PyObject *module, PyMethodDef *row)
{
    PyObject *text =
        PyUnicode_FromFormat("uwsgi.%s() %s", row->ml_name, row->ml_doc);
    PyObject *name = PyUnicode_FromString("uwsgi");
    PyObject *function = NULL;
    int error = -1;

    if (text != NULL && name != NULL) {
        function = PyCFunction_NewEx(row, text, name);
    }
    if (function != NULL) {
        error = PyModule_AddObjectRef(module, row->ml_name, function);
    }
    Py_XDECREF(function);
    Py_XDECREF(name);
    Py_XDECREF(text);
    return error;
}

int
gl_uwsgi_add_absent(PyObject *module)
{
    for (size_t i = 0; i < GL_ARRAY_LEN(absent); i++) {
        if (add_absent(module, &absent[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

/* file_wrapper_type.c - wsgi.file_wrapper (PEP 3333, "Optional
 * Platform-Specific File Handling").
 *
 * As the result of an application it is sent by the kernel where the file
 * is a regular one; in every other hand it is an iterator over its blocks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "py/exchange.h"

#define BLOCK_BYTES 65536

typedef struct {
    PyObject_HEAD
    PyObject *file;  /* strong */
    PyObject *block; /* strong: bytes per read, an int */
} GlFileWrapper;

PyObject *
gl_file_wrapper_file(PyObject *wrapper)
{
    return ((GlFileWrapper *)wrapper)->file;
}

static PyObject *
wrapper_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    char *names[] = {"filelike", "block_size", NULL};
    Py_ssize_t block = BLOCK_BYTES;
    PyObject *file;
    GlFileWrapper *self;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|n:FileWrapper", names,
                                     &file, &block)) {
        return NULL;
    }
    if (block <= 0) {
        PyErr_SetString(PyExc_ValueError, "block_size must be positive");
        return NULL;
    }
    self = (GlFileWrapper *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->file = Py_NewRef(file);
    self->block = PyLong_FromSsize_t(block);
    if (self->block == NULL) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static PyObject *
wrapper_next(PyObject *self)
{
    GlFileWrapper *wrapper = (GlFileWrapper *)self;
    struct gl_state *st = gl_state_of_type(Py_TYPE(self));
    PyObject *bytes =
        gl_call_method_one(wrapper->file, st->s_read, wrapper->block);

    if (bytes != NULL && PyObject_Size(bytes) <= 0) {
        Py_CLEAR(bytes); /* the end, or TypeError: it has no size */
    }
    return bytes;
}

static PyObject *
wrapper_close(PyObject *self, PyObject *unused)
{
    GlFileWrapper *wrapper = (GlFileWrapper *)self;
    struct gl_state *st = gl_state_of_type(Py_TYPE(self));
    PyObject *close = PyObject_GetAttr(wrapper->file, st->s_close);
    PyObject *result;

    (void)unused;
    if (close == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return NULL;
        }
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    result = PyObject_CallNoArgs(close);
    Py_DECREF(close);
    return result;
}

static int
wrapper_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((GlFileWrapper *)self)->file);
    return 0;
}

static int
wrapper_clear(PyObject *self)
{
    Py_CLEAR(((GlFileWrapper *)self)->file);
    return 0;
}

static void
wrapper_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)wrapper_clear(self);
    Py_CLEAR(((GlFileWrapper *)self)->block);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(wrapper_doc,
"FileWrapper(filelike, block_size=65536)\n--\n\n"
"environ['wsgi.file_wrapper']: a file as the body of a response.\n\n"
"  filelike    has read(size), and optionally close() and fileno().\n"
"  block_size  bytes (int > 0) to read at once where sendfile cannot serve.");

static PyMethodDef wrapper_methods[] = {
    {"close", wrapper_close, METH_NOARGS,
     "close($self, /)\n--\n\nClose the file, if it has a close()."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot wrapper_slots[] = {
    {Py_tp_doc, (void *)wrapper_doc},
    {Py_tp_new, (void *)wrapper_new},
    {Py_tp_dealloc, (void *)wrapper_dealloc},
    {Py_tp_traverse, (void *)wrapper_traverse},
    {Py_tp_clear, (void *)wrapper_clear},
    {Py_tp_iter, (void *)PyObject_SelfIter},
    {Py_tp_iternext, (void *)wrapper_next},
    {Py_tp_methods, wrapper_methods},
    {0, NULL},
};

static PyType_Spec wrapper_spec = {
    .name = "greenloop._core.FileWrapper",
    .basicsize = sizeof(GlFileWrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = wrapper_slots,
};

int
gl_file_wrapper_type_init(PyObject *module, struct gl_state *st)
{
    st->file_wrapper_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &wrapper_spec, NULL);
    return st->file_wrapper_type != NULL ? 0 : -1;
}
